import { createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { canonicalJson, sha256, verifySignature } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { type Roster, rosterDigest } from './roster.ts';

/** Names one sum that is asked for. A member answers each phase of each id once. */
export interface AggregationId {
  readonly run: string;
  readonly tree: number;
  readonly round: number;
  /** 0 first; a retry of the same sum counts up. */
  readonly attempt: number;
  /** Of all that was asked in the run so far, this question included: members who were asked other things share no masks. */
  readonly question?: Digest;
}

const key = z.string().regex(/^[\w-]{43}$/);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/) as z.ZodType<Digest>;
const base64 = z
  .string()
  .max(1024)
  .regex(/^[A-Za-z0-9+/]*={0,2}$/);
const memberId = z.string().max(64);

/** What each phase says; the sender's signature covers it together with run, id, phase and roster. */
export interface Bodies {
  /** Two X25519 keys for this round: one seals shares on their way, the other makes masks. */
  advert: { readonly sealing: string; readonly masking: string };
  /** Shares of the own mask's seed and of the masking key, sealed for each member, with what they are held to. */
  shares: {
    /** Transcript of the adverts. */
    readonly adverts: Digest;
    /** Digest of the seed. */
    readonly seed: Digest;
    readonly sealed: Readonly<Record<string, string>>;
    /** Digests of each member's two shares, so that who hands out a wrong one is known. */
    readonly held: Readonly<Record<string, { readonly seed: Digest; readonly key: Digest }>>;
  };
  /** Announces the masked vector, which travels beside it. */
  masked: { readonly shares: Digest; readonly vector: Digest; readonly length: number };
  /** Who is in the sum, as the sender was told. */
  agreement: { readonly masked: Digest; readonly survivors: readonly string[] };
  /** For each survivor a share of its seed, for each that was lost a share of its masking key. */
  reveal: {
    readonly seeds: Readonly<Record<string, string>>;
    readonly keys: Readonly<Record<string, string>>;
  };
  /** Announces the vector of a sum that goes on from others of the same group: see `SumChain`. */
  chained: { readonly chain: Digest; readonly vector: Digest; readonly length: number };
}

export type Phase = keyof Bodies;

const BODIES: { readonly [P in Phase]: z.ZodType<Bodies[P]> } = {
  advert: z.strictObject({ sealing: key, masking: key }),
  shares: z.strictObject({
    adverts: digest,
    seed: digest,
    sealed: z.record(memberId, base64),
    held: z.record(memberId, z.strictObject({ seed: digest, key: digest })),
  }),
  masked: z.strictObject({ shares: digest, vector: digest, length: z.int().min(1) }),
  agreement: z.strictObject({ masked: digest, survivors: z.array(memberId) }),
  reveal: z.strictObject({ seeds: z.record(memberId, base64), keys: z.record(memberId, base64) }),
  chained: z.strictObject({ chain: digest, vector: digest, length: z.int().min(1) }),
};

export interface Signed<P extends Phase> {
  readonly phase: P;
  readonly id: AggregationId;
  readonly from: string;
  readonly body: Bodies[P];
  /** Base64. */
  readonly signature: string;
}

export type Sign = (message: Uint8Array) => Promise<Uint8Array>;

/** Signs a body as `from`. */
export async function signMessage<P extends Phase>(
  roster: Roster,
  content: Omit<Signed<P>, 'signature'>,
  sign: Sign,
): Promise<Signed<P>> {
  const signature = await sign(signedBytes(roster, content));
  return { ...content, signature: Buffer.from(signature).toString('base64') };
}

/**
 * A message that a member of the roster signed for this phase and id. Throws `training.aggregation-tampered`, or
 * `training.aggregation-replayed` where it was signed for another id.
 */
export function verifyMessage<P extends Phase>(
  roster: Roster,
  phase: P,
  id: AggregationId,
  message: Signed<P>,
): Signed<P> {
  const from = typeof message?.from === 'string' ? message.from.slice(0, 64) : 'unknown';
  const tampered = (why: string): never => {
    throw new TrainingError('training.aggregation-tampered', `${phase} of ${from}: ${why}`);
  };
  const member = roster.members.find((candidate) => candidate.id === from);
  if (member === undefined) return tampered('the sender is not on the roster');
  if (message.phase !== phase) return tampered(`expected phase ${phase}, got another`);
  const body = BODIES[phase].safeParse(message.body);
  if (!body.success) return tampered('the body is malformed');
  if (typeof message.id !== 'object' || message.id === null) return tampered('the id is malformed');
  const content = { phase, id: message.id, from, body: body.data };
  const signature = Buffer.from(String(message.signature), 'base64');
  let bytes: Uint8Array;
  try {
    bytes = signedBytes(roster, content);
  } catch {
    return tampered('the id is malformed');
  }
  const key = knownRoster(roster).keys.get(from);
  if (key === undefined || !verifySignature(key, member.algorithm, bytes, signature)) {
    return tampered('the signature does not verify');
  }
  if (!isSameId(message.id, id)) {
    throw new TrainingError(
      'training.aggregation-replayed',
      `${phase} of ${from} was made for another round`,
    );
  }
  return { ...content, signature: message.signature };
}

/** Verifies a set of messages, one a sender at most. Throws like `verifyMessage`. */
export function verifyAll<P extends Phase>(
  roster: Roster,
  phase: P,
  id: AggregationId,
  messages: readonly Signed<P>[],
): ReadonlyMap<string, Signed<P>> {
  const found = new Map<string, Signed<P>>();
  for (const message of messages) {
    const verified = verifyMessage(roster, phase, id, message);
    if (found.has(verified.from)) {
      throw new TrainingError('training.aggregation-tampered', `${phase} of ${verified.from} came twice`);
    }
    found.set(verified.from, verified);
  }
  return found;
}

/** Digest of a set of messages; the order they came in does not matter. */
export function transcriptOf(messages: ReadonlyMap<string, Signed<Phase>>): Digest {
  const sorted = [...messages.values()].sort((a, b) => (a.from < b.from ? -1 : 1));
  return sha256(new TextEncoder().encode(canonicalJson(sorted)));
}

/** Text that names id and roster, for keys that are derived. */
export function contextOf(roster: Roster, id: AggregationId, ...words: readonly string[]): string {
  return [
    'guardian-aggregation-v1',
    knownRoster(roster).digest,
    id.run,
    id.tree,
    id.round,
    id.attempt,
    id.question ?? '',
    ...words,
  ].join('\n');
}

/** Digest that holds a member to the vector it announced. */
export function vectorDigest(vector: Int32Array): Digest {
  return sha256(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
}

export function isSameId(a: AggregationId, b: AggregationId): boolean {
  const isSameSum = a.run === b.run && a.tree === b.tree && a.round === b.round && a.attempt === b.attempt;
  return isSameSum && a.question === b.question;
}

const signedSchema = z.looseObject({ roster: digest, from: memberId });

/** Under which roster and as whom a message is to be signed; undefined where it is none of secure aggregation. */
export function toBeSigned(
  message: Uint8Array,
): { readonly roster: Digest; readonly from: string } | undefined {
  try {
    // What is read must be what is signed, to the byte.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(message);
    const [domain] = text.split('\n', 1);
    if (domain !== 'guardian-aggregation-v1') return undefined;
    return signedSchema.parse(JSON.parse(text.slice(domain.length + 1)));
  } catch {
    return undefined;
  }
}

function signedBytes(roster: Roster, content: Omit<Signed<Phase>, 'signature'>): Uint8Array {
  return new TextEncoder().encode(
    `guardian-aggregation-v1\n${canonicalJson({ roster: knownRoster(roster).digest, ...content })}`,
  );
}

/** Rosters that were seen: every message names one, and is verified by a key of it. */
const known = new WeakMap<Roster, { readonly digest: Digest; readonly keys: Map<string, KeyObject> }>();

function knownRoster(roster: Roster) {
  const found = known.get(roster);
  if (found !== undefined) return found;
  const keys = new Map<string, KeyObject>();
  for (const { id, publicKeyPem } of roster.members) {
    try {
      keys.set(id, createPublicKey(publicKeyPem));
    } catch {
      // No key, no signature that verifies.
    }
  }
  const made = { digest: rosterDigest(roster), keys };
  known.set(roster, made);
  return made;
}
