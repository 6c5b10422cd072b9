import { resolve } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../base/index.ts';
import { configurationSchema } from '../configuration.ts';
import { bundleBytes, reportBundle, type ShapeOfValues } from '../recovery/index.ts';
import type { Context } from './context.ts';
import { refuseExisting } from './lab.ts';
import type { Registrar } from './registrar.ts';
import { openSession, type Session } from './session.ts';
import { VERSION } from './version.ts';

interface ReportOptions {
  readonly bundle: string;
}

/** Routes whose answers tell how a guardian does, and nothing of what it saw. */
const ASKED = {
  status: '/v1/status',
  errors: '/v1/errors',
  models: '/v1/models',
} as const;

export function registerReport({ program, action }: Registrar): void {
  program
    .command('report')
    .description('Gathers what a maintainer needs to find a fault, without keys, weights, traffic or names.')
    .requiredOption('--bundle <file>', 'where it goes; gzip where the name ends with .gz')
    .addHelpText('after', '\nExample:\n  guardian report --bundle report.json.gz')
    .action(action<ReportOptions>(runReport));
}

/** Even where the state cannot be opened: that is what it is for. */
async function runReport(context: Context, { bundle }: ReportOptions): Promise<undefined> {
  const path = resolve(bundle);
  await refuseExisting(path);
  let session: Session | undefined;
  const opened = openSession(context).then((made) => {
    session = made;
    return made;
  });
  const ask = async (route: string) => await (await opened).api.call('GET', route);
  try {
    const report = await reportBundle({
      madeAt: new Date(context.clock.now()).toISOString(),
      versions: {
        'ai-guardian': VERSION,
        ...{ node: process.versions.node, v8: process.versions.v8, openssl: process.versions.openssl },
        platform: `${process.platform}-${process.arch}`,
      },
      configuration: context.config,
      configurationShape: z.toJSONSchema(configurationSchema, {
        io: 'output',
        unrepresentable: 'any',
      }) as ShapeOfValues,
      asked: {
        ...Object.fromEntries(Object.entries(ASKED).map(([name, route]) => [name, () => ask(route)])),
        auditHead: async () => auditHead(await ask('/v1/audit/checkpoint')),
      },
    });
    await writeFileAtomic(path, await bundleBytes(report, path));
    context.output.line(`${path}: read it before you send it`);
    context.output.object({ type: 'report.result', path, bytes: report.length });
  } finally {
    await session?.close();
  }
  return undefined;
}

/** Without the origin, which may be a name, and the signatures. */
function auditHead(checkpoint: unknown): object {
  const { size, root } = checkpoint as { readonly size: number; readonly root: string };
  return { size, root: `sha256:${Buffer.from(root, 'base64').toString('hex')}` };
}
