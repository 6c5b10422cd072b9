import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { AnsweredRounds } from './answered-rounds.ts';
import {
  agreeSecret,
  applyMask,
  deriveSecret,
  makeRoundKey,
  pairSecret,
  privateBytes,
  type RoundKey,
} from './masks.ts';
import {
  type AggregationId,
  type Bodies,
  contextOf,
  isSameId,
  type Phase,
  type Sign,
  type Signed,
  signMessage,
  transcriptOf,
  vectorDigest,
  verifyAll,
} from './messages.ts';
import type { Roster } from './roster.ts';
import { splitSecret } from './shamir.ts';
import { MemberChain } from './sum-chain.ts';

export interface AggregationMemberOptions {
  /** Own id on the roster, which was verified with `verifyRoster`. */
  readonly self: string;
  readonly roster: Roster;
  /** Signs with the member's identity key. */
  readonly sign: Sign;
  /** What was answered before; nothing where absent. */
  readonly answered?: AnsweredRounds;
}

/** What a member holds of the sum that is being made. Wiped when it is answered or given up. */
interface Open {
  readonly id: AggregationId;
  phase: Phase;
  readonly sealing: RoundKey;
  readonly masking: RoundKey;
  readonly seed: Uint8Array;
  adverts: ReadonlyMap<string, Signed<'advert'>>;
  shares: ReadonlyMap<string, Signed<'shares'>>;
  masked: ReadonlyMap<string, Signed<'masked'>>;
  /** What further sums are masked with, one secret a pair. */
  readonly chained: Map<string, Uint8Array>;
}

const SEAL_NONCE = 12;
const SEAL_TAG = 16;
const SECRET = 32;

/**
 * One member's side of secure aggregation by double masking (Bonawitz et al. 2017, protocol with active adversaries): the
 * coordinator learns the sum of at least `minGroup` vectors and nothing of one. Call `advertise`, `share`, `mask`,
 * `agree`, `reveal` in that order with what the coordinator relays, then `chain` for each further sum of the group that was
 * agreed on; each answers an id once.
 *
 * Throws `training.aggregation-tampered` (a message is not what its sender signed), `-equivocation` (members were told
 * different things), `-replayed` (an id or phase a second time), `-below-threshold` (too few) and `-two-answers` (a second
 * sum of this tree whose members differ by so few that subtracting the sums would show their data). After any of
 * them the sum is given up: nothing more is answered for its id.
 */
export class AggregationMember {
  readonly #self: string;
  readonly #roster: Roster;
  readonly #sign: Sign;
  #open: Open | undefined;
  /** The group that the last sum by double masking was opened for; a new one ends it. */
  #chain: MemberChain | undefined;
  readonly #answered: AnsweredRounds;

  constructor({ self, roster, sign, answered = new AnsweredRounds() }: AggregationMemberOptions) {
    this.#self = self;
    this.#roster = roster;
    this.#sign = sign;
    this.#answered = answered;
  }

  async advertise(id: AggregationId): Promise<Signed<'advert'>> {
    this.#expectNew(id);
    this.abandon();
    await this.#answered.begin(id);
    const open: Open = {
      id: { ...id },
      phase: 'advert',
      sealing: makeRoundKey(),
      masking: makeRoundKey(),
      seed: new Uint8Array(randomBytes(SECRET)),
      adverts: new Map(),
      shares: new Map(),
      masked: new Map(),
      chained: new Map(),
    };
    this.#open = open;
    return await this.#say(open, 'advert', {
      sealing: open.sealing.publicKey,
      masking: open.masking.publicKey,
    });
  }

  async share(id: AggregationId, adverts: readonly Signed<'advert'>[]): Promise<Signed<'shares'>> {
    const open = this.#enter(id, 'advert', 'shares');
    return await this.#orGiveUp(async () => {
      open.adverts = verifyAll(this.#roster, 'advert', id, adverts);
      this.#expectGroup(open.adverts, 'advert');
      const own = open.adverts.get(this.#self)?.body;
      if (own?.sealing !== open.sealing.publicKey || own.masking !== open.masking.publicKey) {
        this.#fail('tampered', 'the own advert is not among those relayed');
      }
      const { threshold, members } = this.#roster;
      const secret = privateBytes(open.masking);
      const split = { threshold, count: members.length };
      const seeds = splitSecret(open.seed, split);
      const keys = splitSecret(secret, split);
      secret.fill(0);
      const sealed: Record<string, string> = {};
      const held: Record<string, Bodies['shares']['held'][string]> = {};
      for (const [i, { id: to }] of members.entries()) {
        const advert = open.adverts.get(to);
        if (advert === undefined) continue;
        const both = Buffer.concat([
          (seeds[i] as { bytes: Uint8Array }).bytes,
          (keys[i] as { bytes: Uint8Array }).bytes,
        ]);
        held[to] = { seed: sha256(both.subarray(0, SECRET)), key: sha256(both.subarray(SECRET)) };
        sealed[to] = this.#seal(open, to, advert.body.sealing, both);
        both.fill(0);
      }
      for (const share of [...seeds, ...keys]) share.bytes.fill(0);
      return await this.#say(open, 'shares', {
        adverts: transcriptOf(open.adverts),
        seed: sha256(open.seed),
        sealed,
        held,
      });
    });
  }

  /** Masks `vector` in place, modulo 2^32, and announces it. It is then safe to hand to the coordinator. */
  async mask(
    id: AggregationId,
    shares: readonly Signed<'shares'>[],
    vector: Int32Array,
  ): Promise<Signed<'masked'>> {
    const open = this.#enter(id, 'shares', 'masked');
    return await this.#orGiveUp(async () => {
      open.shares = verifyAll(this.#roster, 'shares', id, shares);
      this.#expectGroup(open.shares, 'shares');
      const transcript = transcriptOf(open.adverts);
      for (const { from, body } of open.shares.values()) {
        if (body.adverts !== transcript) this.#fail('equivocation', `${from} was shown other adverts`);
        if (!open.adverts.has(from)) this.#fail('tampered', `shares of ${from}, who did not advertise`);
      }
      if (!open.shares.has(this.#self)) this.#fail('tampered', 'the own shares are not among those relayed');
      applyMask(vector, deriveSecret(open.seed, this.#context(open, 'self', this.#self)), 1);
      for (const other of open.shares.keys()) {
        if (other === this.#self) continue;
        const seed = this.#pairSeed(open, other);
        applyMask(vector, seed, this.#self < other ? 1 : -1);
        seed.fill(0);
      }
      return await this.#say(open, 'masked', {
        shares: transcriptOf(open.shares),
        vector: vectorDigest(vector),
        length: vector.length,
      });
    });
  }

  /** Signs whose vectors the coordinator says to have received. */
  async agree(id: AggregationId, masked: readonly Signed<'masked'>[]): Promise<Signed<'agreement'>> {
    const open = this.#enter(id, 'masked', 'agreement');
    return await this.#orGiveUp(async () => {
      open.masked = verifyAll(this.#roster, 'masked', id, masked);
      this.#expectGroup(open.masked, 'masked');
      const transcript = transcriptOf(open.shares);
      for (const { from, body } of open.masked.values()) {
        if (body.shares !== transcript) this.#fail('equivocation', `${from} was shown other shares`);
        if (!open.shares.has(from)) this.#fail('tampered', `a vector of ${from}, who did not share`);
      }
      return await this.#say(open, 'agreement', {
        masked: transcriptOf(open.masked),
        survivors: [...open.masked.keys()].sort(),
      });
    });
  }

  /** Hands out the shares that open the sum, once enough members have signed that they see the same group. */
  async reveal(id: AggregationId, agreements: readonly Signed<'agreement'>[]): Promise<Signed<'reveal'>> {
    const open = this.#enter(id, 'agreement', 'reveal');
    return await this.#orGiveUp(async () => {
      const agreed = verifyAll(this.#roster, 'agreement', id, agreements);
      this.#expectGroup(agreed, 'agreement');
      const transcript = transcriptOf(open.masked);
      const survivors = [...open.masked.keys()].sort();
      for (const { from, body } of agreed.values()) {
        if (body.masked !== transcript || body.survivors.join() !== survivors.join()) {
          this.#fail('equivocation', `${from} was told of another group`);
        }
      }
      await this.#expectApart(id.tree, new Set(survivors));
      const seeds: Record<string, string> = {};
      const keys: Record<string, string> = {};
      for (const [owner, { body }] of open.shares) {
        const both = this.#unseal(open, owner, body.sealed[this.#self]);
        const isSurvivor = open.masked.has(owner);
        const share = isSurvivor ? both.subarray(0, SECRET) : both.subarray(SECRET);
        const held = body.held[this.#self];
        if (sha256(share) !== (isSurvivor ? held?.seed : held?.key)) {
          this.#fail('tampered', `the share of ${owner} is not the one it is held to`);
        }
        (isSurvivor ? seeds : keys)[owner] = share.toString('base64');
        both.fill(0);
      }
      const message = await this.#say(open, 'reveal', { seeds, keys });
      this.#expectHeld(this.#open === open);
      // Whose key was revealed is no part of what goes on, nor is anyone whom this member was not told of.
      if (open.masked.has(this.#self)) this.#chain = this.#goOn(open, transcript);
      this.#close();
      return message;
    });
  }

  /**
   * Masks `vector` in place, for a further sum of the group that was agreed on last, and announces it. Only the vectors of the
   * whole group give a sum; it is counted as opened, for nothing more is asked of this member.
   */
  async chain(id: AggregationId, vector: Int32Array): Promise<Signed<'chained'>> {
    this.#expectNew(id);
    const chain = this.#chain ?? this.#fail('replayed', 'no group is agreed on that a sum could go on from');
    return await this.#orGiveUp(async () => {
      await this.#answered.begin(id);
      await this.#expectApart(id.tree, chain.group);
      this.#expectHeld(this.#chain === chain);
      const digest = chain.mask(id, vector);
      const body = { chain: digest, vector: vectorDigest(vector), length: vector.length };
      return await this.#say({ id }, 'chained', body);
    });
  }

  /** Gives the open sum and what could go on from it up, and wipes the secrets. Its id is not answered any more. */
  abandon(): void {
    this.#close();
    this.#chain?.wipe();
    this.#chain = undefined;
  }

  #close(): void {
    this.#open?.seed.fill(0);
    for (const secret of this.#open?.chained.values() ?? []) secret.fill(0);
    this.#open = undefined;
  }

  #goOn(open: Open, masked: ReturnType<typeof transcriptOf>): MemberChain {
    const group = [...open.masked.keys()];
    const secrets = new Map<string, Uint8Array>();
    for (const other of group) {
      const secret = open.chained.get(other);
      if (secret !== undefined) secrets.set(other, secret.slice());
    }
    return new MemberChain(this.#roster, open.id, { self: this.#self, group, masked, secrets });
  }

  #expectNew(id: AggregationId): void {
    if (id.run !== this.#roster.run) this.#fail('replayed', `the roster is for run ${this.#roster.run}`);
    if (!this.#answered.isNew(id)) this.#fail('replayed', 'this or a later round was begun');
  }

  /** The open sum, which must have reached `from`; it moves to `to` before anything is said. */
  #enter(id: AggregationId, from: Phase, to: Phase): Open {
    const open = this.#open;
    if (open === undefined || !isSameId(open.id, id)) return this.#fail('replayed', 'no such round is open');
    if (open.phase !== from)
      return this.#fail('replayed', `expected to be asked after ${open.phase}, not ${from}`);
    open.phase = to;
    return open;
  }

  /** Secrets that were wiped while something was written down or signed must mask nothing: everyone knows them. */
  #expectHeld(isHeld: boolean): void {
    if (!isHeld) this.#fail('replayed', 'the sum was given up meanwhile');
  }

  async #orGiveUp<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Two opened sums of one tree are of one group, or of one within the other and less by enough members to hide each one. */
  async #expectApart(tree: number, group: ReadonlySet<string>): Promise<void> {
    const apart = this.#answered.distance(tree, group);
    if (apart < this.#roster.minGroup) {
      const how = apart === 0 ? 'neither is within the other of' : `${apart} members are between`;
      this.#fail('two-answers', `${how} this group and one that was answered`);
    }
    await this.#answered.open(tree, group);
  }

  #expectGroup(messages: ReadonlyMap<string, unknown>, phase: Phase): void {
    const least = Math.max(this.#roster.threshold, this.#roster.minGroup);
    if (messages.size < least) {
      this.#fail('below-threshold', `expected ${phase} of at least ${least} members, got ${messages.size}`);
    }
  }

  #pairSeed(open: Open, other: string): Uint8Array {
    const advert = open.adverts.get(other)?.body.masking ?? '';
    const pair = [this.#self, other].sort();
    const shared = agreeSecret(open.masking, advert);
    if (shared === undefined) return this.#fail('tampered', `the masking key of ${other} is none`);
    const seed = deriveSecret(shared, this.#context(open, 'pair', ...pair));
    open.chained.set(other, deriveSecret(shared, this.#context(open, 'chain', ...pair)));
    shared.fill(0);
    return seed;
  }

  #seal(open: Open, to: string, publicKey: string, plain: Uint8Array): string {
    const key = pairSecret(open.sealing, publicKey, this.#context(open, 'seal', this.#self, to));
    if (key === undefined) return this.#fail('tampered', `the sealing key of ${to} is none`);
    const nonce = randomBytes(SEAL_NONCE);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const body = Buffer.concat([cipher.update(plain), cipher.final()]);
    key.fill(0);
    return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64');
  }

  #unseal(open: Open, from: string, text: string | undefined): Buffer {
    const bytes = Buffer.from(text ?? '', 'base64');
    const advert = open.adverts.get(from)?.body.sealing ?? '';
    const key = pairSecret(open.sealing, advert, this.#context(open, 'seal', from, this.#self));
    if (key === undefined || bytes.length !== SEAL_NONCE + 2 * SECRET + SEAL_TAG) {
      return this.#fail('tampered', `${from} sealed no share for ${this.#self}`);
    }
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, SEAL_NONCE));
      decipher.setAuthTag(bytes.subarray(-SEAL_TAG));
      return Buffer.concat([decipher.update(bytes.subarray(SEAL_NONCE, -SEAL_TAG)), decipher.final()]);
    } catch {
      return this.#fail('tampered', `the share that ${from} sealed does not open`);
    } finally {
      key.fill(0);
    }
  }

  #context(open: Open, ...words: readonly string[]): string {
    return contextOf(this.#roster, open.id, ...words);
  }

  #say<P extends Phase>(open: Pick<Open, 'id'>, phase: P, body: Bodies[P]): Promise<Signed<P>> {
    return signMessage<P>(this.#roster, { phase, id: open.id, from: this.#self, body }, this.#sign);
  }

  #fail(
    what: 'tampered' | 'equivocation' | 'replayed' | 'below-threshold' | 'two-answers',
    why: string,
  ): never {
    throw new TrainingError(`training.aggregation-${what}`, `${this.#self}: ${why}`);
  }
}
