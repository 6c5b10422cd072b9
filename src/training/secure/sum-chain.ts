import type { Digest } from '../../base/index.ts';
import { sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { applyMask, nextSecret } from './masks.ts';
import { type AggregationId, contextOf, type Signed, vectorDigest, verifyMessage } from './messages.ts';
import type { Roster } from './roster.ts';

/**
 * A chain of sums over one group: once a sum by double masking was opened, whose members all signed the same group, each
 * further sum of the very same group takes one message a member. Its masks are those of pairs alone, so they cancel
 * where every member of the group answers, and for nobody less; nobody can be recovered, and nothing is revealed. Secrets of pairs
 * step forward with every id, so none of an earlier sum can be had from a later one.
 */
export class SumChain {
  readonly #roster: Roster;
  /** Sorted. */
  readonly group: readonly string[];
  #digest: Digest;

  /** `masked`: transcript of the vectors that the group agreed on in the sum `id`. */
  constructor(roster: Roster, id: AggregationId, { group, masked }: ChainStart) {
    this.#roster = roster;
    this.group = [...group].sort();
    this.#digest = beginChain(roster, id, masked);
  }

  /** The next sum; the one before it is over, whether it was opened or not. `length`: int32 values in a vector. */
  next(id: AggregationId, length: number): ChainedSum {
    this.#digest = extendChain(this.#roster, id, this.#digest);
    return new ChainedSum(this.#roster, id, { group: this.group, chain: this.#digest, length });
  }
}

/** What a chain goes on from. */
export interface ChainStart {
  readonly group: Iterable<string>;
  readonly masked: Digest;
}

/**
 * The coordinator's side of one sum of a chain. `accept` throws `training.aggregation-tampered`, `-replayed`, `-equivocation`
 * naming the member; `open` throws `-below-threshold` while a member of the group is wanting: what is added up then is noise.
 */
export class ChainedSum {
  readonly id: AggregationId;
  readonly #roster: Roster;
  readonly #chain: Digest;
  readonly #wanting: Set<string>;
  readonly #group: readonly string[];
  readonly #sum: Int32Array;

  constructor(
    roster: Roster,
    id: AggregationId,
    {
      group,
      chain,
      length,
    }: { readonly group: readonly string[]; readonly chain: Digest; readonly length: number },
  ) {
    this.id = { ...id };
    this.#roster = roster;
    this.#chain = chain;
    this.#group = group;
    this.#wanting = new Set(group);
    this.#sum = new Int32Array(length);
  }

  /** Members who have not answered. */
  get expected(): readonly string[] {
    return [...this.#wanting];
  }

  /** `vector` is added, not kept. */
  accept(message: Signed<'chained'>, vector: Int32Array): void {
    const { from, body } = verifyMessage(this.#roster, 'chained', this.id, message);
    if (!this.#group.includes(from)) this.#fail('replayed', from, 'chained from one outside the group');
    if (!this.#wanting.has(from)) this.#fail('replayed', from, 'chained came twice');
    if (body.chain !== this.#chain) this.#fail('equivocation', from, 'it goes on from other sums');
    if (
      vector.length !== body.length ||
      body.length !== this.#sum.length ||
      vectorDigest(vector) !== body.vector
    ) {
      this.#fail('tampered', from, 'the vector is not the one it announced');
    }
    this.#wanting.delete(from);
    addVectorInto(this.#sum, vector);
  }

  /** The sum modulo 2^32; the array is the caller's. */
  open(): Int32Array {
    if (this.#wanting.size > 0) {
      throw new TrainingError(
        'training.aggregation-below-threshold',
        `expected vectors of all ${this.#group.length} members, got ${this.#group.length - this.#wanting.size}; nothing was revealed`,
      );
    }
    return this.#sum;
  }

  #fail(what: 'tampered' | 'equivocation' | 'replayed', member: string, why: string): never {
    throw new TrainingError(`training.aggregation-${what}`, `${member}: ${why}`);
  }
}

/** One member's side of a chain. */
export class MemberChain {
  readonly group: ReadonlySet<string>;
  readonly #self: string;
  readonly #roster: Roster;
  /** 32 bytes for each other member, wiped by `wipe`. */
  readonly #secrets: ReadonlyMap<string, Uint8Array>;
  #digest: Digest;

  constructor(
    roster: Roster,
    id: AggregationId,
    {
      self,
      group,
      masked,
      secrets,
    }: ChainStart & { readonly self: string; readonly secrets: ReadonlyMap<string, Uint8Array> },
  ) {
    this.#self = self;
    this.#roster = roster;
    this.group = new Set(group);
    this.#secrets = secrets;
    this.#digest = beginChain(roster, id, masked);
  }

  /** Masks `vector` in place and steps every secret forward; gives the digest of the chain up to `id`. */
  mask(id: AggregationId, vector: Int32Array): Digest {
    this.#digest = extendChain(this.#roster, id, this.#digest);
    // The secrets are a pair's own, derived under both names.
    const context = contextOf(this.#roster, id, 'chained', this.#digest);
    for (const [other, secret] of this.#secrets) {
      const seed = nextSecret(secret, context);
      applyMask(vector, seed, this.#self < other ? 1 : -1);
      seed.fill(0);
    }
    return this.#digest;
  }

  wipe(): void {
    for (const secret of this.#secrets.values()) secret.fill(0);
  }
}

/** Adds a vector modulo 2^32. */
export function addVectorInto(sum: Int32Array, vector: Int32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (vector[i] as number);
}

/** Names the sum that a chain goes on from, and all whom it is made of. */
function beginChain(roster: Roster, id: AggregationId, masked: Digest): Digest {
  return sha256(contextOf(roster, id, 'chain', masked));
}

function extendChain(roster: Roster, id: AggregationId, chain: Digest): Digest {
  return sha256(contextOf(roster, id, 'chain', chain));
}
