import { sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { applyMask, deriveSecret, pairSecret, restoreRoundKey } from './masks.ts';
import {
  type AggregationId,
  contextOf,
  type Phase,
  type Signed,
  transcriptOf,
  vectorDigest,
  verifyMessage,
} from './messages.ts';
import type { Roster } from './roster.ts';
import { combineShares, type Share } from './shamir.ts';
import { addVectorInto, SumChain } from './sum-chain.ts';

/** Phases in their order, as the coordinator goes through them. */
const ORDER = ['advert', 'shares', 'masked', 'agreement', 'reveal'] as const satisfies readonly Phase[];

/** Phases of one sum by double masking. */
export type RoundPhase = (typeof ORDER)[number];

/**
 * The coordinator's side of one sum: takes the members' messages phase by phase, closes a phase when enough have spoken
 * (who is silent has dropped out), and opens the sum at the end. It learns the sum and who took part, nothing of one
 * vector. `accept` throws `training.aggregation-tampered`, `-replayed`, `-equivocation` naming the member, and that
 * member's message is not taken; `close` and `open` throw `-below-threshold` where too few are left, and nothing
 * is revealed then.
 */
export class AggregationRound {
  readonly id: AggregationId;
  readonly #roster: Roster;
  readonly #sum: Int32Array;
  #at = 0;
  readonly #messages: { [P in RoundPhase]: Map<string, Signed<P>> } = {
    advert: new Map(),
    shares: new Map(),
    masked: new Map(),
    agreement: new Map(),
    reveal: new Map(),
  };

  /** `length`: int32 values in a vector. */
  constructor(id: AggregationId, roster: Roster, length: number) {
    this.id = { ...id };
    this.#roster = roster;
    this.#sum = new Int32Array(length);
  }

  get phase(): RoundPhase {
    return ORDER[this.#at] as RoundPhase;
  }

  /** Members who may still speak in this phase. */
  get expected(): readonly string[] {
    const before = ORDER[this.#at - 1];
    return before === undefined
      ? this.#roster.members.map(({ id }) => id)
      : [...this.#messages[before].keys()];
  }

  /** Members whose vectors are in the sum. */
  get survivors(): readonly string[] {
    return [...this.#messages.masked.keys()].sort();
  }

  /** Takes a message of the present phase; `vector` comes with `masked` alone and is added, not kept. */
  accept<P extends RoundPhase>(message: Signed<P>, vector?: Int32Array): void {
    const phase = this.phase as P;
    const verified = verifyMessage<P>(this.#roster, phase, this.id, message);
    const { from } = verified;
    const taken = this.#messages[phase] as Map<string, Signed<P>>;
    if (taken.has(from)) this.#fail('replayed', from, `${phase} came twice`);
    if (!this.expected.includes(from)) this.#fail('replayed', from, `${phase} from one who had dropped out`);
    this.#check(verified as Signed<RoundPhase>, vector);
    taken.set(from, verified);
    if (vector !== undefined) addVectorInto(this.#sum, vector);
  }

  /** Ends the present phase; gives its messages, to be relayed to everyone who spoke in it. */
  close<P extends Exclude<RoundPhase, 'reveal'>>(phase: P): readonly Signed<P>[] {
    if (phase !== this.phase) {
      throw new TrainingError(
        'training.aggregation-replayed',
        `expected to close ${this.phase}, not ${phase}`,
      );
    }
    this.#expectGroup(phase);
    this.#at++;
    return [...this.#messages[phase].values()];
  }

  /** The sum modulo 2^32, once enough members have revealed; the array is the caller's. */
  open(): Int32Array {
    this.#expectGroup('reveal');
    for (const [owner, { body }] of this.#messages.shares) {
      if (this.#messages.masked.has(owner)) this.#removeSelfMask(owner, body.seed);
      else this.#removePairMasks(owner);
    }
    return this.#sum;
  }

  /** What further sums of the same group go on from; undefined unless everyone in the sum has revealed. Valid once opened. */
  chain(): SumChain | undefined {
    const group = this.survivors;
    if (!group.every((id) => this.#messages.reveal.has(id))) return undefined;
    return new SumChain(this.#roster, this.id, { group, masked: transcriptOf(this.#messages.masked) });
  }

  #check(message: Signed<RoundPhase>, vector: Int32Array | undefined): void {
    const { from } = message;
    switch (message.phase) {
      case 'advert':
        return;
      case 'shares':
        this.#expectTranscript(from, (message as Signed<'shares'>).body.adverts, 'advert');
        return;
      case 'masked': {
        const { shares, length, vector: digest } = (message as Signed<'masked'>).body;
        this.#expectTranscript(from, shares, 'shares');
        if (vector?.length !== length || length !== this.#sum.length || vectorDigest(vector) !== digest) {
          this.#fail('tampered', from, 'the vector is not the one it announced');
        }
        return;
      }
      case 'agreement': {
        const { masked, survivors } = (message as Signed<'agreement'>).body;
        this.#expectTranscript(from, masked, 'masked');
        if (survivors.join() !== this.survivors.join())
          this.#fail('equivocation', from, 'it saw another group');
        return;
      }
      case 'reveal':
        this.#checkShares(message as Signed<'reveal'>);
        return;
      default:
        message.phase satisfies never;
    }
  }

  /** Each share must be the one its owner is held to, so a wrong one is known by who handed it out. */
  #checkShares({ from, body }: Signed<'reveal'>): void {
    for (const [owner, { body: shares }] of this.#messages.shares) {
      const isSurvivor = this.#messages.masked.has(owner);
      const share = (isSurvivor ? body.seeds : body.keys)[owner];
      const held = shares.held[from];
      if (
        share === undefined ||
        sha256(Buffer.from(share, 'base64')) !== (isSurvivor ? held?.seed : held?.key)
      ) {
        this.#fail('tampered', from, `the share of ${owner} is not the one it was given`);
      }
      if ((isSurvivor ? body.keys : body.seeds)[owner] !== undefined) {
        this.#fail('tampered', from, `both shares of ${owner} came`);
      }
    }
  }

  #removeSelfMask(owner: string, commitment: string): void {
    const seed = combineShares(this.#sharesOf(owner, 'seeds'));
    if (sha256(seed) !== commitment)
      this.#fail('tampered', owner, 'its shares do not give the seed it is held to');
    applyMask(this.#sum, deriveSecret(seed, contextOf(this.#roster, this.id, 'self', owner)), -1);
    seed.fill(0);
  }

  /** The masks that survivors share with one who dropped out between sharing and sending. */
  #removePairMasks(lost: string): void {
    const publicKey = this.#messages.advert.get(lost)?.body.masking ?? '';
    const bytes = combineShares(this.#sharesOf(lost, 'keys'));
    const key =
      restoreRoundKey(bytes, publicKey) ??
      this.#fail('tampered', lost, 'its shares do not give its masking key');
    bytes.fill(0);
    for (const survivor of this.survivors) {
      const pair = [survivor, lost].sort();
      const context = contextOf(this.#roster, this.id, 'pair', ...pair);
      const seed =
        pairSecret(key, this.#messages.advert.get(survivor)?.body.masking ?? '', context) ??
        this.#fail('tampered', survivor, 'its masking key is none');
      applyMask(this.#sum, seed, survivor < lost ? -1 : 1);
      seed.fill(0);
    }
  }

  #sharesOf(owner: string, kind: 'seeds' | 'keys'): Share[] {
    const shares: Share[] = [];
    for (const [i, { id }] of this.#roster.members.entries()) {
      const text = this.#messages.reveal.get(id)?.body[kind][owner];
      if (text !== undefined) shares.push({ x: i + 1, bytes: new Uint8Array(Buffer.from(text, 'base64')) });
    }
    return shares.slice(0, this.#roster.threshold);
  }

  #expectTranscript(from: string, digest: string, of: RoundPhase): void {
    if (digest !== transcriptOf(this.#messages[of] as ReadonlyMap<string, Signed<RoundPhase>>)) {
      this.#fail('equivocation', from, `it speaks of other messages of phase ${of}`);
    }
  }

  #expectGroup(phase: RoundPhase): void {
    const least = Math.max(this.#roster.threshold, this.#roster.minGroup);
    const count = this.#messages[phase].size;
    if (count < least) {
      throw new TrainingError(
        'training.aggregation-below-threshold',
        `expected ${phase} of at least ${least} members, got ${count}; nothing was revealed`,
      );
    }
  }

  #fail(what: 'tampered' | 'equivocation' | 'replayed', member: string, why: string): never {
    throw new TrainingError(`training.aggregation-${what}`, `${member}: ${why}`);
  }
}
