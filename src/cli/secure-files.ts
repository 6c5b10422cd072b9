import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomic } from '../base/index.ts';
import { canonicalJson } from '../crypto/index.ts';
import { parseSignedRoster, type SignedRoster } from '../training/index.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import { printable } from './text.ts';

const publicKey = {
  v: z.literal(1),
  algorithm: z.enum(['ecdsa-p256', 'ed25519']),
  publicKeyPem: z.string().max(4_096),
};

const memberFile = z.strictObject({
  ...publicKey,
  kind: z.literal('member'),
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
});
const approverFile = z.strictObject({
  ...publicKey,
  kind: z.literal('approver'),
  name: z.string().min(1).max(128),
});
const rosterFile = z.strictObject({ roster: z.looseObject({}), signature: z.string().max(1_024) });

/** The public part of a member, as it goes to the approver. */
export type MemberFile = z.output<typeof memberFile>;
/** The public part of an approver, as it goes to members and to whoever coordinates, by a way that they trust. */
export type ApproverFile = z.output<typeof approverFile>;

export function readMemberFile(path: string): Promise<MemberFile> {
  return read(path, memberFile, 'the identity of a member, as `guardian roster identity` writes it');
}

export function readApproverFile(path: string): Promise<ApproverFile> {
  return read(path, approverFile, 'the public part of an approver, as `guardian roster approver` writes it');
}

/** Its form alone: `verifyRoster` checks what it says. Throws `training.roster-refused`. */
export async function readRosterFile(path: string): Promise<SignedRoster> {
  return parseSignedRoster(await read(path, rosterFile, 'a roster, as `guardian roster sign` writes it'));
}

/** Writes a new file that anyone may read. Throws `cli.file-exists`. */
export async function writePublicFile(path: string, content: object): Promise<void> {
  await refuseExisting(path);
  await writeFileAtomic(path, `${canonicalJson(content)}\n`, 0o644);
}

async function read<T>(path: string, schema: z.ZodType<T>, expected: string): Promise<T> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new CliError('cli.usage', `${printable(path)}: expected ${expected}`, { cause });
  }
}
