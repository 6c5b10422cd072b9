import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { METADATA_FOLDER, mirrorRepository, serveRepository } from '../registry/index.ts';
import type { Context } from './context.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';

interface ServeRepoOptions {
  readonly out: string;
  readonly model?: readonly string[];
  readonly port: number;
  readonly writeOnly?: boolean;
  readonly rootDays?: number;
  readonly targetsDays?: number;
  readonly snapshotDays?: number;
  readonly timestampDays?: number;
}

interface Published {
  readonly versions: Readonly<Record<'root' | 'targets' | 'snapshot' | 'timestamp', number>>;
  readonly models: readonly string[];
  readonly metadata: readonly { readonly name: string; readonly bytes: string }[];
  readonly targets: readonly { readonly name: string; readonly bytes: string }[];
}

const DAY_MS = 86_400_000;
const DEFAULT_TIMESTAMP_DAYS = 7;
/** A timer takes no more than 2^31 - 1 ms. */
const MAX_REFRESH_MS = 14 * DAY_MS;

export function registerServeRepo(models: Command, action: Registrar['action']): void {
  models
    .command('serve-repo')
    .description('Offers champions to other sites: writes a signed TUF repository and serves it on loopback.')
    .requiredOption('--out <folder>', "the repository's folder, made or brought up to date")
    .option('--model <name...>', 'only these; every model with a champion by default')
    .option('--port <n>', 'TCP port on 127.0.0.1; 0 takes a free one', parseWhole(0, 65_535), 8412)
    .option('--write-only', 'write the folder and end; any web server may serve it')
    .option('--root-days <n>', 'how long root metadata are good for (365)', parseDays)
    .option('--targets-days <n>', 'how long targets metadata are good for (90)', parseDays)
    .option('--snapshot-days <n>', 'how long snapshot metadata are good for (14)', parseDays)
    .option('--timestamp-days <n>', `how long a timestamp is good for (${DEFAULT_TIMESTAMP_DAYS})`, parseDays)
    .addHelpText(
      'after',
      '\nHand metadata/1.root.json to the other site another way than over this network.\n\nExample:\n  guardian models serve-repo --out repository --model flow',
    )
    .action(action<ServeRepoOptions>(serveRepo));
}

async function serveRepo(context: Context, options: ServeRepoOptions): Promise<undefined> {
  const folder = resolve(options.out);
  await writeRepository(context, options, folder);
  if (options.writeOnly === true) return undefined;
  const served = await serveRepository(folder, { port: options.port });
  try {
    context.output.line(`serving ${served.url}   (Ctrl-C ends)`);
    context.output.object({ type: 'repo.listening', url: served.url });
    await renewUntilAborted(context, options, folder);
  } finally {
    await served.close();
  }
  return undefined;
}

/** The owner of the state signs; this process lays the files out, the timestamp last. */
async function writeRepository(context: Context, options: ServeRepoOptions, folder: string): Promise<void> {
  const published = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/updates/publish', {
      ...(options.model !== undefined && { models: options.model }),
      expiryDays: {
        ...(options.rootDays !== undefined && { root: options.rootDays }),
        ...(options.targetsDays !== undefined && { targets: options.targetsDays }),
        ...(options.snapshotDays !== undefined && { snapshot: options.snapshotDays }),
        ...(options.timestampDays !== undefined && { timestamp: options.timestampDays }),
      },
    }),
  )) as Published;
  await mkdir(folder, { recursive: true, mode: 0o755 });
  await mirrorRepository(folder, {
    metadata: published.metadata.map(({ name, bytes }) => [name, Buffer.from(bytes, 'base64')]),
    targets: published.targets.map(({ name, bytes }) => [name, Buffer.from(bytes, 'base64')]),
  });
  const { versions, models } = published;
  const root = join(folder, METADATA_FOLDER, '1.root.json');
  context.output.line(
    `${models.length === 0 ? 'no models' : models.join(', ')} in ${folder}: root ${versions.root}, targets ${versions.targets}, snapshot ${versions.snapshot}, timestamp ${versions.timestamp}`,
  );
  context.output.line(`the root for other sites: ${root}`);
  context.output.object({ type: 'repo.result', folder, root, models, versions });
}

/** Publishes anew when half of the timestamp's time is over; a failure is said and tried again the next time. */
async function renewUntilAborted(context: Context, options: ServeRepoOptions, folder: string): Promise<void> {
  const half = ((options.timestampDays ?? DEFAULT_TIMESTAMP_DAYS) * DAY_MS) / 2;
  const { signal } = context;
  while (!signal.aborted) {
    await pause(Math.min(half, MAX_REFRESH_MS), signal);
    if (signal.aborted) return;
    await writeRepository(context, options, folder).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      context.output.note(`guardian: the repository was not renewed: ${reason}`);
    });
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) return done();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      done();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || days < 0.01 || days > 3_650) {
    throw new InvalidArgumentError('expected days from 0.01 to 3650.');
  }
  return days;
}
