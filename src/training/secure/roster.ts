import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { canonicalJson, type KeyAlgorithm, sha256, verifySignature } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';

/** Members of a secure run at most: Shamir's points are bytes. */
export const MAX_MEMBERS = 255;
/** Fewer than this would let two of them compute the third one's data. */
export const LEAST_GROUP = 3;

const memberSchema = z.strictObject({
  // Ids are keys of objects, where `constructor` would always be found.
  id: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
    .refine((id) => !(id in {})),
  algorithm: z.enum(['ecdsa-p256', 'ed25519']),
  publicKeyPem: z.string().max(4096),
});

const rosterSchema = z.strictObject({
  v: z.literal(1),
  /** As `RunPlan` has it. */
  run: z.string().regex(/^[a-z0-9][a-z0-9-]{0,47}$/),
  members: z.array(memberSchema).min(LEAST_GROUP).max(MAX_MEMBERS),
  /** Members who must answer for a sum to be opened; more than two thirds, so that two groups cannot both reach it. */
  threshold: z.int(),
  /** Members in a sum at least, and members by which two opened sums of one tree differ at least, one within the other. */
  minGroup: z.int().min(LEAST_GROUP),
  approver: z.string().min(1).max(128),
});

/** Who takes part in a secure run, under which rules. Signed by an approver, never by the coordinator. */
export type Roster = Readonly<z.output<typeof rosterSchema>>;
export type RosterMember = Readonly<z.output<typeof memberSchema>>;

export interface SignedRoster {
  readonly roster: Roster;
  /** Base64, over `rosterBytes`. */
  readonly signature: string;
}

/** The key of the approver whom a member or coordinator trusts. */
export interface TrustedApprover {
  readonly algorithm: KeyAlgorithm;
  readonly publicKeyPem: string;
}

/** Smallest allowed threshold of n members: more than two thirds (Bonawitz et al. 2017, section 6.2). */
export function leastThreshold(n: number): number {
  return Math.floor((2 * n) / 3) + 1;
}

/** What an approver signs. */
export function rosterBytes(roster: Roster): Uint8Array {
  return new TextEncoder().encode(`guardian-roster-v1\n${canonicalJson(roster)}`);
}

/** Names the roster in every message. */
export function rosterDigest(roster: Roster): Digest {
  return sha256(rosterBytes(roster));
}

/** The roster, if the approver signed it and its rules hold. Throws `training.roster-refused`. */
export function verifyRoster(signed: SignedRoster, approver: TrustedApprover): Roster {
  const roster = parseRoster(signed?.roster);
  const signature = Buffer.from(String(signed.signature), 'base64');
  if (!verifySignature(approver.publicKeyPem, approver.algorithm, rosterBytes(roster), signature)) {
    throw refused(`the signature of ${roster.approver} does not verify`);
  }
  checkRules(roster, approver);
  return roster;
}

/** A roster that may be signed by this approver. Throws `training.roster-refused`. */
export function checkRoster(roster: unknown, approver: TrustedApprover): Roster {
  const parsed = parseRoster(roster);
  checkRules(parsed, approver);
  return parsed;
}

/** A roster in its form, which says nothing of whether it was signed: see `verifyRoster`. Throws `training.roster-refused`. */
export function parseSignedRoster({
  roster,
  signature,
}: {
  roster: unknown;
  signature: string;
}): SignedRoster {
  return { roster: parseRoster(roster), signature };
}

function parseRoster(roster: unknown): Roster {
  const parsed = rosterSchema.safeParse(roster);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw refused(`expected a roster, got one whose ${issue?.path.join('.')} is not: ${issue?.message}`);
}

function checkRules({ members, threshold, minGroup }: Roster, approver: TrustedApprover): void {
  if (new Set(members.map(({ id }) => id)).size < members.length) throw refused('a member is named twice');
  if (new Set(members.map(({ publicKeyPem }) => publicKeyPem)).size < members.length) {
    throw refused('two members have one key');
  }
  if (members.some(({ publicKeyPem }) => publicKeyPem === approver.publicKeyPem)) {
    throw refused('the approver is a member');
  }
  if (threshold < leastThreshold(members.length) || threshold > members.length) {
    throw refused(
      `expected a threshold from ${leastThreshold(members.length)} to ${members.length}, got ${threshold}`,
    );
  }
  if (minGroup > members.length) throw refused(`expected minGroup up to ${members.length}, got ${minGroup}`);
}

function refused(why: string): TrainingError {
  return new TrainingError('training.roster-refused', why);
}
