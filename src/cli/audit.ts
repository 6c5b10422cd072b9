import { readFile } from 'node:fs/promises';
import type { AuditEntry } from '../audit/index.ts';
import { writeFileAtomic } from '../base/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable, table } from './text.ts';

export function registerAudit({ program, action }: Registrar): void {
  const audit = program.command('audit').description('The tamper-evident log of everything that was done.');
  audit
    .command('show')
    .description('Shows the newest entries, or those from an index on.')
    .option('--from <index>', 'first entry', parseWhole(0, Number.MAX_SAFE_INTEGER))
    .option('--limit <n>', 'how many', parseWhole(1, 1000), 20)
    .action(action<{ from?: number; limit: number }>(show));
  audit
    .command('verify')
    .description(
      'Recomputes the whole log: entries, tree, signatures. Exit code 1 where anything was changed.',
    )
    .option('--checkpoint <file>', 'a checkpoint kept elsewhere, which finds a log that was cut back')
    .action(action<{ checkpoint?: string }>(verify));
  audit
    .command('prove')
    .description('Writes a proof that an entry is in the log, for someone who has only the public key.')
    .argument('<index>', 'of the entry')
    .requiredOption('--out <file>', 'proof to write, such as entry.tlog-proof')
    .action(action<{ out: string }>(prove));
}

interface ShownEntry {
  readonly index: number;
  readonly entry: AuditEntry;
}

async function show(context: Context, options: { from?: number; limit: number }): Promise<undefined> {
  const from = options.from === undefined ? '' : `&from=${options.from}`;
  const { entries } = (await withSession(context, ({ api }) =>
    api.call('GET', `/v1/audit?limit=${options.limit}${from}`),
  )) as { entries: readonly ShownEntry[] };
  context.output.line(
    table(
      ['entry', 'time', 'kind', 'action', 'subject', 'by', 'result'],
      entries.map(({ index, entry }) => [
        String(index),
        entry.time,
        entry.kind,
        printable(entry.action),
        printable(entry.subject, 60),
        printable(entry.principal),
        entry.result === undefined
          ? ''
          : `${entry.result}${entry.reason ? `: ${printable(entry.reason, 60)}` : ''}`,
      ]),
    ),
  );
  context.output.object({ type: 'audit.result', entries });
  return undefined;
}

async function verify(context: Context, options: { checkpoint?: string }): Promise<undefined> {
  const outside = options.checkpoint === undefined ? undefined : await readCheckpoint(options.checkpoint);
  const result = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/audit/verify', outside === undefined ? {} : { checkpoint: outside }),
  )) as { size: number; root: string; verified: boolean };
  context.output.line(`${count(result.size)} entries verified, root ${result.root}`);
  context.output.object({
    type: 'audit.verify.result',
    size: result.size,
    root: result.root,
    verified: result.verified,
  });
  return undefined;
}

async function readCheckpoint(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read the checkpoint ${file}`, { cause });
  });
}

async function prove(context: Context, options: { out: string }, index = ''): Promise<undefined> {
  if (!/^\d{1,15}$/.test(index))
    throw new CliError('cli.usage', `expected the index of an entry, got ${printable(index)}`);
  await refuseExisting(options.out);
  const { proof } = (await withSession(context, ({ api }) =>
    api.call('GET', `/v1/audit/proof/${index}`),
  )) as {
    proof: string;
  };
  await writeFileAtomic(options.out, proof, 0o644);
  context.output.line(`entry ${index} is proven in ${options.out}`);
  context.output.object({ type: 'audit.prove.result', index: Number(index), file: options.out });
  return undefined;
}
