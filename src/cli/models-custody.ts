import type { Command } from 'commander';
import { writeFileAtomic } from '../base/index.ts';
import { type EraseStatus, type Hold, type Lineage, type PruneResult, parseTag } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

const VERSION_ARGUMENT = ['<version>', 'flow@1.2.0'] as const;

/** `guardian models tag|hold|release|lineage|card|bom|prune|erase|escrow`. */
export function registerCustody(models: Command, { action }: Pick<Registrar, 'action'>): void {
  models
    .command('tag')
    .description('Sets tags of a version, or takes them away; without any, shows them.')
    .argument(...VERSION_ARGUMENT)
    .argument('[tags...]', 'name=value to set, name= to take away')
    .action(action(tag));
  models
    .command('hold')
    .description('Holds a version: it is neither pruned nor erased.')
    .argument(...VERSION_ARGUMENT)
    .requiredOption('--reason <text>', 'stands in the audit log')
    .option('--until <time>', 'RFC 3339 or a date; until released where left out')
    .action(action<HoldOptions>(hold));
  models
    .command('release')
    .description('Releases a hold by its number.')
    .argument(...VERSION_ARGUMENT)
    .requiredOption('--hold <number>', 'as `guardian models hold` said it')
    .requiredOption('--reason <text>', 'stands in the audit log')
    .action(action<{ hold: string; reason: string }>(release));
  models
    .command('lineage')
    .description('Where a version comes from, on which data, and what it took the place of.')
    .argument(...VERSION_ARGUMENT)
    .action(action(lineage));
  models
    .command('card')
    .description('Writes the model card in Markdown.')
    .argument(...VERSION_ARGUMENT)
    .option('--out <file>', 'a file; the terminal by default')
    .action(action<{ out?: string }>(card));
  models
    .command('bom')
    .description('Writes the CycloneDX 1.6 ML-BOM.')
    .argument(...VERSION_ARGUMENT)
    .option('--out <file>', 'a file; the terminal by default')
    .action(action<{ out?: string }>(bom));
  models
    .command('prune')
    .description('Removes the weights of versions that no rule of registry.retention keeps.')
    .argument('<name>', 'flow')
    .option('--keep <n>', 'newest versions that stay')
    .option('--keep-days <days>', 'younger versions stay')
    .option('--dry-run', 'say what would go and why each other stays')
    .action(action<PruneCommand>(prune));
  models
    .command('erase')
    .description(
      'Cryptographic erase (NIST SP 800-88): destroys every wrap of the version’s data key, for good.',
    )
    .argument(...VERSION_ARGUMENT)
    .option('--reason <text>', 'stands in the audit log')
    .option('--status', 'say where an erase stands')
    .addHelpText(
      'after',
      '\nExample:\n  guardian models erase flow@1.2.0 --reason "trained on withdrawn data"',
    )
    .action(action<{ reason?: string; status?: boolean }>(erase));
  models
    .command('escrow')
    .description('Copies the key wraps into escrow; run it beside each backup.')
    .option('--restore', 'put lost wraps back instead, but never those of erased versions')
    .action(action<{ restore?: boolean }>(escrow));
}

interface HoldOptions {
  readonly reason: string;
  readonly until?: string;
}

interface PruneCommand {
  readonly keep?: string;
  readonly keepDays?: string;
  readonly dryRun?: boolean;
}

/** Path of one version; an alias is refused, since it may move between two commands. */
function versionPath(reference = '', rest = ''): string {
  const [name = '', version = '', ...more] = reference.split('@');
  if (name === '' || version === '' || more.length > 0) {
    throw new CliError('cli.usage', `expected one version such as flow@1.2.0, got ${printable(reference)}`);
  }
  return `/v1/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}${rest}`;
}

async function call(
  context: Context,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<unknown> {
  return withSession(context, ({ api }) => api.call(method, path, body));
}

async function tag(
  context: Context,
  _: unknown,
  reference?: string,
  given: readonly string[] | string = [],
): Promise<undefined> {
  const wanted = (typeof given === 'string' ? [given] : given).map((text) =>
    text.endsWith('=') ? ([text.slice(0, -1), null] as const) : parseTag(text),
  );
  const body = { tags: Object.fromEntries(wanted) };
  const answer = await call(context, 'POST', versionPath(reference, '/tags'), body);
  const { tags } = answer as { tags: Readonly<Record<string, string>> };
  for (const [key, value] of Object.entries(tags)) context.output.line(`${key}=${printable(value)}`);
  context.output.object({ type: 'tags.result', ...(answer as object) });
  return undefined;
}

async function hold(context: Context, options: HoldOptions, reference?: string): Promise<undefined> {
  const until = options.until === undefined ? undefined : readTime(options.until);
  const body = { reason: options.reason, ...(until === undefined ? {} : { until }) };
  const placed = (await call(context, 'POST', versionPath(reference, '/holds'), body)) as Hold;
  context.output.line(
    `${reference} is held (hold ${placed.id})${until === undefined ? '' : ` until ${until}`}`,
  );
  context.output.object({ type: 'hold.result', ...placed });
  return undefined;
}

async function release(
  context: Context,
  options: { hold: string; reason: string },
  reference?: string,
): Promise<undefined> {
  const body = { hold: readNumber(options.hold, '--hold'), reason: options.reason };
  await call(context, 'POST', versionPath(reference, '/holds/release'), body);
  context.output.line(`hold ${body.hold} of ${reference} is released`);
  context.output.object({ type: 'release.result', reference, hold: body.hold });
  return undefined;
}

async function lineage(context: Context, _: unknown, reference?: string): Promise<undefined> {
  const found = (await call(context, 'GET', versionPath(reference, '/lineage'))) as Lineage;
  const rows = [
    ['parent', found.parent?.version ?? 'none'],
    ['published before', found.predecessor ?? 'none'],
    ['training data', found.data.training],
    ['gate data', found.data.gates],
    ['schema', found.data.schema],
    ['configuration', found.data.configuration],
    ...found.replaced.map(({ alias, version, time }) => [`replaced as ${alias}`, `${version}, ${time}`]),
    ...found.replacedBy.map(({ alias, version, time }) => [`replaced by as ${alias}`, `${version}, ${time}`]),
  ];
  context.output.line(table(['what', 'value'], rows));
  context.output.object({ type: 'lineage.result', ...found });
  return undefined;
}

async function card(context: Context, options: { out?: string }, reference?: string): Promise<undefined> {
  const { markdown } = (await call(context, 'GET', versionPath(reference, '/card'))) as { markdown: string };
  await deliver(context, markdown, options.out);
  context.output.object({ type: 'card.result', reference, markdown });
  return undefined;
}

async function bom(context: Context, options: { out?: string }, reference?: string): Promise<undefined> {
  const document = await call(context, 'GET', versionPath(reference, '/bom'));
  await deliver(context, `${JSON.stringify(document, null, 2)}\n`, options.out);
  context.output.object({ type: 'bom.result', reference, bom: document });
  return undefined;
}

async function deliver(context: Context, text: string, out: string | undefined): Promise<void> {
  if (out === undefined) context.output.line(text.trimEnd());
  else await writeFileAtomic(out, text, 0o644);
}

async function prune(context: Context, options: PruneCommand, name = ''): Promise<undefined> {
  const body = {
    dryRun: options.dryRun === true,
    ...(options.keep === undefined ? {} : { keep: readNumber(options.keep, '--keep') }),
    ...(options.keepDays === undefined ? {} : { keepDays: readNumber(options.keepDays, '--keep-days') }),
  };
  const path = `/v1/models/${encodeURIComponent(name)}/prune`;
  const result = (await call(context, 'POST', path, body)) as PruneResult;
  context.output.line(
    table(
      ['version', 'created', result.dryRun ? 'would' : 'did', 'why it stays'],
      result.versions.map(({ version, createdAt, goes, stays }) => [
        version,
        createdAt ?? '',
        goes ? 'go' : 'stay',
        stays.join(', '),
      ]),
    ),
  );
  context.output.object({ type: 'prune.result', ...result });
  return undefined;
}

async function erase(
  context: Context,
  options: { reason?: string; status?: boolean },
  reference?: string,
): Promise<undefined> {
  const path = versionPath(reference, '/erase');
  if ((options.status === true) === (options.reason !== undefined)) {
    throw new CliError('cli.usage', 'expected --reason TEXT to erase, or --status to ask');
  }
  const status = (await (options.status === true
    ? call(context, 'GET', path)
    : call(context, 'POST', path, { reason: options.reason }))) as EraseStatus;
  const wait =
    status.escrowUntil === undefined ? '' : `; the last escrowed wrap expires ${status.escrowUntil}`;
  context.output.line(
    `${status.method} of ${reference}: ${status.state} (audit entry ${status.intent})${wait}`,
  );
  context.output.object({ type: 'erase.result', ...status });
  return undefined;
}

async function escrow(context: Context, options: { restore?: boolean }): Promise<undefined> {
  if (options.restore === true) {
    const { restored } = (await call(context, 'POST', '/v1/escrow/restore')) as { restored: string[] };
    context.output.line(`${restored.length} data keys have their wraps again`);
    context.output.object({ type: 'escrow-restore.result', restored });
  } else {
    const run = (await call(context, 'POST', '/v1/escrow')) as { escrowed: number; until: string };
    context.output.line(`${run.escrowed} key wraps are in escrow until ${run.until}`);
    context.output.object({ type: 'escrow.result', ...run });
  }
  return undefined;
}

function readNumber(text: string, option: string): number {
  if (/^\d{1,9}(\.\d{1,3})?$/.test(text)) return Number(text);
  throw new CliError('cli.usage', `expected a number for ${option}, got ${printable(text)}`);
}

function readTime(text: string): string {
  const time = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(time)) return new Date(time).toISOString();
  throw new CliError('cli.usage', `expected a time such as 2027-01-31, got ${printable(text)}`);
}
