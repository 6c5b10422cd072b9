import { sha256Hex } from '../crypto/index.ts';
import type { SecureIdentity, SecureRole } from '../guardian/index.ts';
import {
  leastThreshold,
  type Roster,
  rosterDigest,
  type SignedRoster,
  verifyRoster,
} from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import {
  type ApproverFile,
  type MemberFile,
  readApproverFile,
  readMemberFile,
  readRosterFile,
  writePublicFile,
} from './secure-files.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

interface SignOptions {
  readonly run: string;
  readonly member: readonly string[];
  readonly out: string;
  readonly approver: string;
  readonly threshold?: number;
  readonly minGroup?: number;
}

export function registerRoster({ program, action }: Registrar): void {
  const roster = program
    .command('roster')
    .description('Who takes part in a secure training, signed by an approver who does not coordinate it.');
  roster
    .command('identity')
    .description(
      "Writes the public part of this site's identity as a member; makes its key in the key store.",
    )
    .requiredOption('--id <name>', 'name on rosters: a-z, 0-9 and -')
    .requiredOption('--out <file>', 'goes to the approver')
    .addHelpText('after', '\nExample:\n  guardian roster identity --id clinic-a --out clinic-a.json')
    .action(action<{ id: string; out: string }>(writeIdentity));
  roster
    .command('approver')
    .description('Writes the public part of the key by which this site signs rosters; makes it.')
    .requiredOption('--name <name>', 'what rosters call the approver')
    .requiredOption('--out <file>', 'goes to members and coordinator, by a way that they trust')
    .addHelpText('after', '\nExample:\n  guardian roster approver --name board --out approver.json')
    .action(action<{ name: string; out: string }>(writeApprover));
  roster
    .command('sign')
    .description('Signs a roster of members as its approver; its name is good for one training.')
    .requiredOption('--run <name>', 'name of the run: a-z, 0-9 and -, never used before')
    .requiredOption('--approver <file>', 'as `guardian roster approver` wrote it')
    .requiredOption('--member <files...>', 'identities of the members, three at least')
    .requiredOption('--out <file>', 'the signed roster')
    .option('--threshold <n>', 'members who must answer (default: more than two thirds)', parseWhole(1, 255))
    .option('--min-group <n>', 'members in a sum at least (default: all of them)', parseWhole(3, 255))
    .addHelpText('after', SIGN_HELP)
    .action(action<SignOptions>(sign));
  roster
    .command('show')
    .description('Shows a roster; with --approver verifies it, and ends with 1 where it is refused.')
    .argument('<file>', 'the signed roster')
    .option('--approver <file>', 'the approver whom you trust')
    .addHelpText('after', '\nExample:\n  guardian roster show roster.json --approver approver.json')
    .action(action<{ approver?: string }>(show));
}

const SIGN_HELP = `
Compare the fingerprints of identities with their owners first. With all members in every sum nobody's rows can be told from
two sums that differ by one member; with a smaller --min-group a run survives the loss of members (--policy survivors).

Example:
  guardian roster sign --run q3 --approver approver.json --member a.json b.json c.json --out roster.json`;

async function writeIdentity(
  context: Context,
  { id, out }: { readonly id: string; readonly out: string },
): Promise<undefined> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(id)) {
    throw new CliError('cli.usage', `expected an id of a-z, 0-9 and -, got ${printable(id)}`);
  }
  const { algorithm, publicKeyPem, keyId } = await identity(context, 'member', out);
  const file = { v: 1, kind: 'member', id, algorithm, publicKeyPem } as MemberFile;
  await writePublicFile(out, file);
  context.output.line(`${id} is in ${printable(out)}; fingerprint ${fingerprint(publicKeyPem)}`);
  context.output.object({ type: 'roster.identity', id, keyId, fingerprint: fingerprint(publicKeyPem) });
  return undefined;
}

async function writeApprover(
  context: Context,
  { name, out }: { readonly name: string; readonly out: string },
): Promise<undefined> {
  const { algorithm, publicKeyPem, keyId } = await identity(context, 'approver', out);
  const file = { v: 1, kind: 'approver', name, algorithm, publicKeyPem } as ApproverFile;
  await writePublicFile(out, file);
  context.output.line(`${printable(name)} is in ${printable(out)}; fingerprint ${fingerprint(publicKeyPem)}`);
  context.output.object({ type: 'roster.approver', name, keyId, fingerprint: fingerprint(publicKeyPem) });
  return undefined;
}

async function identity(context: Context, role: SecureRole, out: string): Promise<SecureIdentity> {
  await refuseExisting(out);
  return (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/training/identities', { role }),
  )) as SecureIdentity;
}

async function sign(context: Context, options: SignOptions): Promise<undefined> {
  await refuseExisting(options.out);
  const approver = await readApproverFile(options.approver);
  const members: Roster['members'] = [];
  for (const path of options.member) {
    const { id, algorithm, publicKeyPem } = await readMemberFile(path);
    members.push({ id, algorithm, publicKeyPem });
  }
  const { threshold = leastThreshold(members.length), minGroup = members.length } = options;
  const roster: Roster = {
    ...{ v: 1, run: options.run, members, threshold, minGroup, approver: approver.name },
  };
  const signed = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/training/rosters', { roster }),
  )) as SignedRoster;
  // What this site signs by may have been rotated since that file was handed out.
  verifyRoster(signed, approver);
  await writePublicFile(options.out, signed);
  say(context, roster);
  context.output.line(`\nsigned by ${printable(approver.name)}: ${printable(options.out)}`);
  context.output.object({ type: 'roster.signed', roster, digest: rosterDigest(roster) });
  return undefined;
}

async function show(
  context: Context,
  options: { readonly approver?: string },
  path = '',
): Promise<undefined> {
  const signed = await readRosterFile(path);
  if (options.approver === undefined) {
    context.output.line('NOT VERIFIED: pass --approver FILE');
    say(context, signed.roster);
    context.output.object({ type: 'roster.result', verified: false, roster: signed.roster });
    return undefined;
  }
  const approver = await readApproverFile(options.approver);
  const roster = verifyRoster(signed, approver);
  say(context, roster);
  context.output.line(`\nok: signed by ${printable(approver.name)}`);
  context.output.object({ type: 'roster.result', verified: true, roster, digest: rosterDigest(roster) });
  return undefined;
}

/** Unverified rosters are shown too, so that nothing of one is taken for granted. */
function say({ output }: Context, { run, members, threshold, minGroup, approver }: Roster): void {
  const list = Array.isArray(members) ? members : [];
  output.line(`run ${printable(String(run))}, approver ${printable(String(approver))}`);
  output.line(
    `${list.length} members, ${String(threshold)} must answer, ${String(minGroup)} in a sum at least`,
  );
  output.line(
    table(
      ['member', 'fingerprint'],
      list.map((member) => [printable(String(member?.id)), fingerprint(String(member?.publicKeyPem))]),
    ),
  );
}

/** What people compare by telephone. */
export function fingerprint(publicKeyPem: string): string {
  return (sha256Hex(publicKeyPem).slice(0, 32).match(/.{4}/g) ?? []).join(' ');
}
