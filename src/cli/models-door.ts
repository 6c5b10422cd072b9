import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { loadSchema, schemaBytes } from '../features/index.ts';
import {
  CERTIFICATE_ORIGINS,
  type CertificateOrigin,
  describeClaim,
  MAX_CERTIFICATE_DAYS,
} from '../models/index.ts';
import {
  type Approval,
  type CertifiedVersion,
  type GateData,
  type PublishedVersion,
  readExport,
} from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { modelRoute, splitVersion } from './models-reference.ts';
import { parseChoice, parseTarget, parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable } from './text.ts';

interface GateDataOptions {
  readonly labels?: string;
  readonly schema: string;
}

interface CertifyCommandOptions {
  readonly origin: CertificateOrigin;
  readonly target: number;
  readonly expiresDays: number;
}

interface ImportCommandOptions {
  readonly key?: readonly string[];
  readonly certificate?: readonly string[];
  readonly name?: string;
}

/** What lets a version in: approvals, data for the gates, imports. */
export function registerDoor(models: Command, action: Registrar['action']): void {
  models
    .command('approve')
    .description('Records that you, who did not publish it, approve a version.')
    .argument('<version>', 'flow@1.2.0')
    .addHelpText('after', '\nExample:\n  guardian models approve flow@1.2.0')
    .action(action(approve));
  const gateData = models
    .command('gate-data')
    .description('The data on which the registry runs the gates again before it promotes.');
  gateData
    .command('add')
    .description('Registers labelled data by path and digest; a file that changes later is refused.')
    .argument('<name>', 'flow')
    .argument('<file>', 'a table by its schema, or flows with --labels; on the machine of the registry')
    .requiredOption('--schema <name|file>', 'feature schema: flow-core, nsl-kdd, ... or a file')
    .option('--labels <file>', 'labels of the flows, as `guardian lab` writes them')
    .addHelpText(
      'after',
      '\nExample:\n  guardian models gate-data add nsl KDDTrain+_20Percent.txt.gz --schema nsl-kdd',
    )
    .action(action<GateDataOptions>(addGateData));
  gateData
    .command('show')
    .description('Shows which data are registered.')
    .argument('<name>', 'flow')
    .action(action(showGateData));
  models
    .command('certify')
    .description(
      'Certifies a version on the registered gate data: what its decisions may be trusted with alone.',
    )
    .argument('<version>', 'flow@1.2.0')
    .option(
      '--origin <origin>',
      'where those data are from: site, lab or public',
      parseChoice(CERTIFICATE_ORIGINS),
      'site',
    )
    .option('--target <percent>', 'share of decisions that are to be right', parseTarget, 1e-5)
    .option('--expires-days <n>', 'days until it ends', parseWhole(1, MAX_CERTIFICATE_DAYS), 30)
    .addHelpText(
      'after',
      '\nOnly an unexpired site certificate can permit an action, and only while live traffic is like its data.\n\nExample:\n  guardian models certify flow@1.2.0 --origin site --target 99.99',
    )
    .action(action<CertifyCommandOptions>(certifyVersion));
  models
    .command('import')
    .description(
      'Takes in an exported version: verified with keys or roots you trust, gated here, signed anew.',
    )
    .argument('<folder>', 'as `guardian models export` writes it')
    .option('--key <pem...>', 'public keys whose signatures you trust')
    .option(
      '--certificate <pem...>',
      'root certificates whose signers you trust, for exports signed by certificate',
    )
    .option('--name <model>', 'name to take it in under; its own by default')
    .addHelpText('after', '\nExample:\n  guardian models import flow-model --key flow-model.pub.pem')
    .action(action<ImportCommandOptions>(importModel));
}

async function approve(context: Context, _: unknown, reference?: string): Promise<undefined> {
  const { name, version } = splitVersion(reference, 'approve');
  const approval = (await withSession(context, ({ api }) =>
    api.call('POST', modelRoute(name, '/approve'), { version }),
  )) as Approval;
  context.output.line(
    `${name}@${approval.version} is approved by ${printable(approval.principal)} until ${approval.expiresAt} (audit entry ${approval.intent})`,
  );
  context.output.object({ type: 'approval.result', ...approval });
  return undefined;
}

async function certifyVersion(
  context: Context,
  { origin, target, expiresDays }: CertifyCommandOptions,
  reference?: string,
): Promise<undefined> {
  const { name, version } = splitVersion(reference, 'certify');
  const certified = (await withSession(context, ({ api }) =>
    api.call('POST', modelRoute(name, '/certify'), { version, origin, target, expiresDays }),
  )) as CertifiedVersion;
  const { output } = context;
  output.line(
    `${name}@${certified.version} is certified until ${certified.expiresAt} (audit entry ${certified.intent})`,
  );
  for (const claim of Object.values(certified.claims)) output.line(describeClaim(claim));
  output.line('it is suspended until live traffic has passed the shift test');
  output.object({ type: 'certify.result', ...certified });
  return undefined;
}

async function addGateData(
  context: Context,
  options: GateDataOptions,
  name = '',
  file = '',
): Promise<undefined> {
  const { schema } = await loadSchema(options.schema);
  const data = (await withSession(context, ({ api }) =>
    api.call('POST', modelRoute(name, '/gate-data'), {
      path: resolve(file),
      ...(options.labels !== undefined && { labels: resolve(options.labels) }),
      schema: Buffer.from(schemaBytes(schema)).toString('base64'),
    }),
  )) as GateData;
  sayGateData(context, data);
  return undefined;
}

async function showGateData(context: Context, _: unknown, name = ''): Promise<undefined> {
  const { gateData } = (await withSession(context, ({ api }) =>
    api.call('GET', modelRoute(name, '/gate-data')),
  )) as { gateData: GateData | null };
  if (gateData === null) {
    context.output.line(
      `${printable(name)} has no gate data: the submitter's gates count, where policy lets them`,
    );
    context.output.object({ type: 'gate-data.result', name, gateData });
  } else sayGateData(context, gateData);
  return undefined;
}

function sayGateData({ output }: Context, data: GateData): void {
  output.line(
    `the gates of ${data.name} are run on ${printable(basename(data.path))}: ${count(data.rows)} rows, ${count(data.attacks)} of them attacks`,
  );
  output.line(`digest  ${data.digest}`);
  output.line(`schema  ${data.schemaId}`);
  output.line(`by      ${printable(data.principal)}, ${data.time} (audit entry ${data.intent})`);
  output.object({ type: 'gate-data.result', name: data.name, gateData: data });
}

async function importModel(context: Context, options: ImportCommandOptions, folder = ''): Promise<undefined> {
  if (options.key === undefined && options.certificate === undefined) {
    throw new CliError('cli.usage', 'expected whom to trust: --key or --certificate');
  }
  const files = await readExport(folder).catch((cause: unknown) => {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new CliError('cli.usage', `there is no export in ${printable(folder)}`, { cause });
    }
    throw cause;
  });
  const { key = [], certificate = [] } = options;
  const keys = await Promise.all(key.map(readKey));
  const certificates = await Promise.all(certificate.map(readKey));
  const published = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/models/import', {
      ...(options.name !== undefined && { name: options.name }),
      files: Object.fromEntries(
        Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
      ),
      keys,
      certificates,
    }),
  )) as PublishedVersion;
  const { name, version, digest, intent } = published;
  context.output.line(`imported as ${name}@${version} ${digest} (audit entry ${intent})`);
  context.output.object({ type: 'import.result', ...published });
  return undefined;
}

function readKey(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read ${printable(path)}`, { cause });
  });
}
