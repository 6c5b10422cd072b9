import { readFile } from 'node:fs/promises';
import {
  type AuditEntry,
  AuditError,
  parseVerifierKey,
  readCosignatures,
  verifyProof,
} from '../audit/index.ts';
import { writeFileAtomic } from '../base/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable, table } from './text.ts';

export function registerAudit({ program, action }: Registrar): void {
  const audit = program
    .command('audit')
    .description('The tamper-evident log of everything that was done.')
    .addHelpText('after', '\nExamples:\n  guardian audit show\n  guardian audit verify --json');
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
    .option(
      '--witness-key <vkey...>',
      'verifier keys of witnesses, name+id+key, whose cosignatures are wanted',
    )
    .option('--cosignatures <n>', 'how many of those witnesses; all by default', parseWhole(1, 16))
    .action(action<VerifyOptions>(verify));
  audit
    .command('prove')
    .description('Writes a proof that an entry is in the log, for someone who has only the public key.')
    .argument('<index>', 'of the entry')
    .requiredOption('--out <file>', 'proof to write, such as entry.tlog-proof')
    .action(action<{ out: string }>(prove));
  audit
    .command('key')
    .description('Prints the public keys of the log (PEM), to be given to whoever verifies proofs.')
    .action(action(printKeys));
  audit
    .command('verify-proof')
    .description('Verifies a proof offline, with the public key of the log alone. Needs no state.')
    .argument('<file>', 'proof, such as entry.tlog-proof')
    .requiredOption('--key <pem...>', "files with public keys of the log, from 'guardian audit key'")
    .option(
      '--witness-key <vkey...>',
      'verifier keys of witnesses, name+id+key, whose cosignatures are wanted',
    )
    .option('--cosignatures <n>', 'how many of those witnesses; all by default', parseWhole(1, 16))
    .action(action<VerifyProofOptions>(verifyProofOf));
}

interface WitnessOptions {
  readonly witnessKey?: readonly string[];
  readonly cosignatures?: number;
}

interface VerifyOptions extends WitnessOptions {
  readonly checkpoint?: string;
}

interface VerifyProofOptions extends WitnessOptions {
  readonly key: readonly string[];
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

async function verify(context: Context, options: VerifyOptions): Promise<undefined> {
  const outside = options.checkpoint === undefined ? undefined : await readCheckpoint(options.checkpoint);
  const result = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/audit/verify', {
      ...(outside !== undefined && { checkpoint: outside }),
      ...(options.witnessKey !== undefined && { witnessKeys: options.witnessKey }),
      ...(options.cosignatures !== undefined && { cosignaturesWanted: options.cosignatures }),
    }),
  )) as { size: number; root: string; verified: boolean; witnessed?: { size: number; names: string[] } };
  context.output.line(`${count(result.size)} entries verified, root ${result.root}`);
  const { witnessed } = result;
  if (witnessed !== undefined)
    context.output.line(
      `${count(witnessed.size)} of them witnessed by ${witnessed.names.map((each) => printable(each)).join(', ')}`,
    );
  context.output.object({
    type: 'audit.verify.result',
    size: result.size,
    root: result.root,
    verified: result.verified,
    ...(witnessed !== undefined && { witnessed }),
  });
  return undefined;
}

async function printKeys(context: Context): Promise<undefined> {
  const { keys } = (await withSession(context, ({ api }) => api.call('GET', '/v1/keys'))) as {
    keys: readonly { purpose: string; state: string; publicKeyPem?: string }[];
  };
  const own = keys.filter(({ purpose, state }) => purpose === 'log-signing' && state !== 'revoked');
  for (const { publicKeyPem = '' } of own) context.output.line(publicKeyPem.trimEnd());
  context.output.object({ type: 'audit.key.result', keys: own.map(({ publicKeyPem }) => publicKeyPem) });
  return undefined;
}

async function verifyProofOf(context: Context, options: VerifyProofOptions, file = ''): Promise<undefined> {
  const keys = await Promise.all(options.key.map((each) => readText(each, 'key')));
  const { index, entry, checkpoint } = verifyProof(await readText(file, 'proof'), keys);
  const witnessKeys = (options.witnessKey ?? []).map((text) => {
    const key = parseVerifierKey(text);
    if (key === undefined) throw new CliError('cli.usage', `expected a verifier key, got ${printable(text)}`);
    return key;
  });
  const witnesses = readCosignatures(checkpoint.text, witnessKeys).map(({ name }) => name);
  const wanted = options.cosignatures ?? witnessKeys.length;
  if (witnesses.length < wanted) {
    const message = `expected the cosignatures of ${wanted} witnesses, found ${witnesses.length}`;
    throw new AuditError('audit.not-witnessed', message);
  }
  const what = `${printable(entry.action)} ${printable(entry.subject)} by ${printable(entry.principal)}`;
  context.output.line(`entry ${index} of ${printable(checkpoint.origin)}: ${entry.time} ${what}`);
  context.output.line(`proven under the signed root of ${count(checkpoint.size)} entries`);
  const { origin, size, root } = checkpoint;
  context.output.object({
    ...{ type: 'audit.verify-proof.result', index, entry, origin, size, root, witnesses, verified: true },
  });
  return undefined;
}

function readCheckpoint(file: string): Promise<string> {
  return readText(file, 'checkpoint');
}

async function readText(file: string, what: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read the ${what} ${file}`, { cause });
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
