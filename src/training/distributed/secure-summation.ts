import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import type { Digest, Milliseconds } from '../../base/index.ts';
import { type Bus, BusError } from '../../bus/index.ts';
import type { AggregationProgress } from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import { AggregationRound, type RoundPhase } from '../secure/aggregation-round.ts';
import { COORDINATOR_ROUNDS } from '../secure/answered-rounds.ts';
import type { AggregationId, Phase, Signed } from '../secure/messages.ts';
import type { Roster } from '../secure/roster.ts';
import type { SumChain } from '../secure/sum-chain.ts';
import { extendHistory, type MemberOperation, type MemberRequest, memberSubject } from './member-request.ts';
import { decodeMessage, encodeMessage, vectorOf } from './message.ts';
import type { Notice, Question } from './operation.ts';
import type { SumBounds } from './sum-bounds.ts';
import type { Summation } from './summation.ts';
import type { WireTree } from './wire-tree.ts';

/** `wait`: every sum is of everyone. `survivors`: a tree is grown on those who answer its first question. */
export type DropoutPolicy = 'wait' | 'survivors';

/** Whose rows a tree was grown on. */
export interface TreeParticipants {
  /** 0: the weights of the classes; else one more than the number of the tree. */
  readonly tree: number;
  readonly members: readonly string[];
  /** Sums that were opened. */
  readonly sums: number;
  /** A member was lost after the first sum, and the tree ended with what was known. */
  readonly ended: boolean;
}

export interface SecureSummationOptions {
  readonly bus: Bus;
  /** Verified. */
  readonly roster: Roster;
  readonly plan: Digest;
  readonly policy: DropoutPolicy;
  /** Base margins and trees that the run begins with. */
  readonly bias: readonly number[];
  /** Token of the coordinator's lease: grows with each coordinator of the run. */
  readonly epoch: number;
  /** How long a member may take over an answer, and how long one that is away is waited for. */
  readonly answerMs: Milliseconds;
  /** Members that take part. */
  readonly members: readonly string[];
  readonly participants?: readonly TreeParticipants[];
  /** What opened sums are held to. */
  readonly bounds?: SumBounds;
  readonly lost: AbortSignal;
}

const RETRY_MS: Milliseconds = 50;

/**
 * Sums that nobody but their members could take apart: each question is one sum of secure aggregation. The first sum of a group
 * goes through all phases; those after it go on from it in one. With the policy `survivors` each tree opens with all phases,
 * so that whoever was lost before it can be left out; where all are waited for, once a coordinator is enough. Throws
 * `training.member-missing` (policy `wait`) or `training.aggregation-below-threshold` where members do not answer, and what
 * `AggregationRound` throws for messages that are not as they should be; nothing is revealed then.
 */
export class SecureSummation implements Summation {
  readonly participants: TreeParticipants[];
  readonly #options: SecureSummationOptions;
  #alive: readonly string[];
  #history: Digest;
  #pending: MemberOperation[] = [];
  #begun = false;
  #trees: readonly WireTree[] = [];
  #tree = 0;
  #round = 0;
  #group: readonly string[] = [];
  /** What the next sum of the group goes on from. */
  #chain: SumChain | undefined;
  readonly #progress = { workers: 0, sums: 0, bytesSent: 0, bytesReceived: 0, lost: 0, late: 0 };

  constructor(options: SecureSummationOptions) {
    this.#options = options;
    this.#alive = options.members;
    this.#history = options.plan;
    this.participants = [...(options.participants ?? [])];
  }

  /** Members that were not lost. */
  get alive(): readonly string[] {
    return this.#alive;
  }

  async startRound(_round: number, trees: readonly WireTree[]): Promise<void> {
    this.#trees = trees;
  }

  tell(notice: Notice): void {
    this.#pending.push(notice);
  }

  /** The sum of all members' class weights, before the first tree. */
  async askLabels(length: number): Promise<Int32Array> {
    return (await this.#sum({ kind: 'labels' }, length, true)) as Int32Array;
  }

  async ask(question: Question, length: number): Promise<Int32Array | undefined> {
    if (!this.#begun) {
      this.#pending.unshift({ kind: 'begin', bias: [...this.#options.bias], trees: [...this.#trees] });
      this.#begun = true;
      this.#tree = this.#trees.length;
    }
    const opens = question.kind === 'open-tree';
    if (opens) {
      this.#tree++;
      this.#round = 0;
    }
    return await this.#sum(question, length, opens);
  }

  progress(): AggregationProgress {
    return { ...this.#progress, workers: this.#alive.length };
  }

  /** Asks members something that is no sum; who does not answer is missing. */
  async askEach(request: (id: string, i: number) => MemberRequest): Promise<Map<string, Uint8Array>> {
    return await this.#askAll(this.#alive, (id, i) => encodeMessage(request(id, i)));
  }

  async #sum(question: MemberOperation, length: number, opens: boolean): Promise<Int32Array | undefined> {
    const { roster, epoch, policy } = this.#options;
    const operations = [...this.#pending, question];
    const before = this.#history;
    this.#history = extendHistory(this.#options.plan, before, operations);
    this.#pending = [];
    const id: AggregationId = {
      ...{ run: roster.run, tree: this.#tree, round: epoch * COORDINATOR_ROUNDS + this.#round++, attempt: 0 },
      question: this.#history,
    };
    const said = { ...id, question: this.#history };
    const goesOn = this.#chain !== undefined && (policy === 'wait' || !opens);
    const sum = goesOn
      ? await this.#goOn(id, { kind: 'chained', id: said, before, operations }, length)
      : await this.#playAll(id, { kind: 'advert', id: said, before, operations }, length, opens);
    if (sum === undefined) {
      this.#chain = undefined;
      this.#note((last) => ({ ...last, ended: true }));
      return undefined;
    }
    this.#options.bounds?.check(question, sum, this.#group);
    if (opens) this.participants.push({ tree: this.#tree, members: this.#group, sums: 1, ended: false });
    else this.#note((last) => ({ ...last, sums: last.sums + 1 }));
    this.#progress.sums++;
    return sum;
  }

  /** A sum of the very group of the one before it; undefined where one of them is lost. */
  async #goOn(id: AggregationId, request: MemberRequest, length: number): Promise<Int32Array | undefined> {
    const chain = this.#chain as SumChain;
    const round = chain.next(id, length);
    await setImmediate();
    const bytes = encodeMessage(request);
    const answers = await this.#askAll(chain.group, () => bytes, 'chained');
    for (const [from, answer] of answers) {
      const { head, body } = decodeMessage(answer, z.custom<Signed<'chained'>>(), { owned: true });
      expectSigned(head, from, 'chained');
      round.accept(head, vectorOf(body, length));
    }
    return round.expected.length === 0 ? round.open() : undefined;
  }

  /** A sum in all phases; undefined where a tree goes on and its group is not whole. */
  async #playAll(
    id: AggregationId,
    request: MemberRequest,
    length: number,
    opens: boolean,
  ): Promise<Int32Array | undefined> {
    const round = new AggregationRound(id, this.#options.roster, length);
    const said = { ...id, question: this.#history };
    this.#chain = undefined;
    await this.#phase(round, 'advert', request, length);
    const adverts = round.close('advert');
    await this.#phase(round, 'shares', { kind: 'shares', id: said, messages: [...adverts] }, length);
    const shares = round.close('shares');
    await this.#phase(round, 'masked', { kind: 'masked', id: said, messages: [...shares] }, length);
    const masked = round.close('masked');
    if (opens) this.#group = round.survivors;
    else if (round.survivors.join() !== this.#group.join()) {
      // Opened, the sum would show the rows of who was lost by what is missing: nobody is asked to reveal.
      return undefined;
    }
    await this.#phase(round, 'agreement', { kind: 'agreement', id: said, messages: [...masked] }, length);
    const agreements = round.close('agreement');
    await this.#phase(round, 'reveal', { kind: 'reveal', id: said, messages: [...agreements] }, length);
    const sum = round.open();
    this.#chain = round.chain();
    return sum;
  }

  #note(change: (last: TreeParticipants) => TreeParticipants): void {
    const last = this.participants.pop();
    if (last !== undefined) this.participants.push(change(last));
  }

  async #phase<P extends RoundPhase>(
    round: AggregationRound,
    phase: P,
    request: MemberRequest,
    length: number,
  ): Promise<void> {
    const asked = round.expected.filter((id) => this.#alive.includes(id));
    // Where everyone is in this process, leases must be renewed in between.
    await setImmediate();
    const bytes = encodeMessage(request);
    const answers = await this.#askAll(asked, () => bytes, phase);
    for (const [id, answer] of answers) {
      const { head, body } = decodeMessage(answer, z.custom<Signed<P>>(), { owned: true });
      expectSigned(head, id, phase);
      round.accept(head, phase === 'masked' ? vectorOf(body, length) : undefined);
    }
  }

  /** The answers that came in time, in the order of the roster. Who is silent was lost. */
  async #askAll(
    ids: readonly string[],
    request: (id: string, i: number) => Uint8Array,
    phase?: Phase,
  ): Promise<Map<string, Uint8Array>> {
    const { policy, answerMs } = this.#options;
    const answers = await Promise.all(ids.map((id, i) => this.#askOne(id, request(id, i))));
    const found = new Map<string, Uint8Array>();
    const missing: string[] = [];
    for (const [i, id] of ids.entries()) {
      const answer = answers[i];
      if (answer === undefined) missing.push(id);
      else found.set(id, answer);
    }
    this.#progress.lost += missing.length;
    // Shares of the others open a sum that everyone's vector is in.
    const isNeeded = phase !== 'agreement' && phase !== 'reveal';
    if (policy === 'survivors') this.#alive = this.#alive.filter((id) => !missing.includes(id));
    else if (missing.length > 0 && isNeeded) {
      throw new TrainingError(
        'training.member-missing',
        `no answer from ${missing.join(', ')} within ${answerMs} ms; nothing was revealed`,
      );
    }
    return found;
  }

  async #askOne(id: string, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    const { bus, roster, answerMs, policy, lost } = this.#options;
    const until = performance.now() + answerMs;
    for (;;) {
      if (lost.aborted) {
        throw new TrainingError('training.lease-lost', `another coordinator has taken run ${roster.run}`);
      }
      try {
        this.#progress.bytesSent += bytes.length;
        const timeoutMs = Math.max(1, Math.ceil(until - performance.now()));
        const answer = await bus.request(memberSubject(roster.run, id), bytes, { timeoutMs });
        this.#progress.bytesReceived += answer.length;
        return answer;
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        if (error.code === 'bus.responder-failed') {
          throw new TrainingError('training.message-refused', `${id} refuses: ${error.message}`, {
            cause: error,
          });
        }
        if (error.code === 'bus.closed') throw error;
        // Nobody answers its subject: it may come back before the time is over, and where all are waited for it is waited for.
        if (policy === 'survivors' || performance.now() + RETRY_MS > until) return undefined;
        await wait(RETRY_MS);
      }
    }
  }
}

function expectSigned(head: Partial<Signed<Phase>> | undefined, id: string, phase: Phase): void {
  if (head?.from === id) return;
  throw new TrainingError('training.aggregation-tampered', `${phase} of ${id}: it is signed as another's`);
}
