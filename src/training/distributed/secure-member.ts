import type { Digest } from '../../base/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import type { Binning, LabelledBins } from '../binning.ts';
import { labelWeights } from '../objective.ts';
import type { AnsweredRounds } from '../secure/answered-rounds.ts';
import { AggregationMember } from '../secure/member.ts';
import type { Sign } from '../secure/messages.ts';
import type { Roster } from '../secure/roster.ts';
import { writeExacts } from './answer.ts';
import {
  extendHistory,
  type MemberOperation,
  type MemberRequest,
  memberRequestSchema,
} from './member-request.ts';
import { bytesOf, decodeMessage, encodeMessage, refused } from './message.ts';
import { isQuestion } from './operation.ts';
import { RowShard } from './row-shard.ts';
import { planBinning, planScales, type RunPlan } from './run-plan.ts';
import { noRows } from './shard-rows.ts';

export interface SecureMemberOptions {
  readonly self: string;
  /** Verified with `verifyRoster` against the approver whom this member trusts. */
  readonly roster: Roster;
  readonly sign: Sign;
  /** Rows of the member's own data. */
  readonly rows: number;
  /** Encodes them by the bins of a run; weights above `maxWeight` are cut down to it. */
  readonly encode: (binning: Binning, maxWeight: number) => LabelledBins;
  /** Rows in a released cell at least; a plan that asks for less is refused. */
  readonly minCellRows: number;
  readonly threads?: number;
  /** What earlier lives of this member answered in the run; without it an id could be answered again after a restart. */
  readonly answered?: AnsweredRounds;
}

/**
 * A member of a secure run: holds its own rows, answers with masked vectors alone. What it is asked is part of what it signs, so
 * members are asked the same or no sum opens; the plan's bounds are its own to keep. Nothing it is told names a file.
 */
export class SecureMember {
  readonly #options: SecureMemberOptions;
  readonly #aggregation: AggregationMember;
  #plan: RunPlan | undefined;
  #planDigest: Digest = NO_DIGEST;
  #rows: { readonly bins: LabelledBins; readonly firstRow: number } | undefined;
  #shard: RowShard | undefined;
  #before: Digest = NO_DIGEST;
  #history: Digest = NO_DIGEST;
  /** Trees in the margins. */
  #grown = 0;
  /** What the last question is about, by which groups are kept apart: 0 for the labels, else one more than the trees before. */
  #tree = 0;
  /** The answer to the last question; masks go over a copy. */
  #answer: Int32Array | undefined;
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: SecureMemberOptions) {
    this.#options = options;
    const { self, roster, sign, answered } = options;
    this.#aggregation = new AggregationMember({ self, roster, sign, ...(answered && { answered }) });
  }

  /** Answers a coordinator; one request at a time. */
  handle(request: Uint8Array): Promise<Uint8Array> {
    const answer = this.#working.then(() => this.#answerTo(decodeMessage(request, memberRequestSchema).head));
    this.#working = answer.catch(() => {});
    return answer;
  }

  async close(): Promise<void> {
    await this.#working;
    this.#aggregation.abandon();
    await this.#closeShard();
    this.#rows = undefined;
    this.#answer = undefined;
  }

  async #answerTo(request: MemberRequest): Promise<Uint8Array> {
    switch (request.kind) {
      case 'hello':
        return encodeMessage({ rows: this.#options.rows });
      case 'open':
        await this.#open(request.plan, request.firstRow);
        return encodeMessage({});
      case 'advert':
        await this.#prepare(request);
        return encodeMessage(await this.#aggregation.advertise(request.id));
      case 'chained': {
        const vector = (await this.#prepare(request)).slice();
        const message = await this.#aggregation.chain(request.id, vector);
        return encodeMessage(message, bytesOf(vector));
      }
      case 'shares':
        return encodeMessage(await this.#aggregation.share(request.id, request.messages));
      case 'masked': {
        if (request.id.question !== this.#history || this.#answer === undefined)
          throw refused('nothing was asked');
        const vector = this.#answer.slice();
        const message = await this.#aggregation.mask(request.id, request.messages, vector);
        return encodeMessage(message, bytesOf(vector));
      }
      case 'agreement':
        return encodeMessage(await this.#aggregation.agree(request.id, request.messages));
      case 'reveal':
        return encodeMessage(await this.#aggregation.reveal(request.id, request.messages));
      case 'end':
        this.#aggregation.abandon();
        await this.#closeShard();
        return encodeMessage({});
      default:
        return request satisfies never;
    }
  }

  async #open(plan: RunPlan, firstRow: number): Promise<void> {
    const { roster, rows, minCellRows, encode, answered } = this.#options;
    const digest = sha256(canonicalJson(plan));
    if (this.#plan !== undefined && digest !== this.#planDigest) throw refused('the run has another plan');
    if (plan.run !== roster.run) throw refused(`the roster is for run ${roster.run}`);
    if (plan.minCellRows < minCellRows) {
      throw refused(
        `expected cells of ${minCellRows} rows at least, got ${plan.minCellRows}; a run with noise needs members that allow 1`,
      );
    }
    if (firstRow + rows > plan.rows) throw refused('the plan has fewer rows than this member');
    planScales(plan);
    if (answered !== undefined && !(await answered.holdTo(digest, firstRow))) {
      throw refused('the run had another plan before this member was started again');
    }
    if (this.#rows === undefined) this.#rows = { bins: encode(planBinning(plan), plan.maxWeight), firstRow };
    if (this.#rows.firstRow !== firstRow) throw refused('the rows of this member were numbered already');
    this.#plan = plan;
    this.#planDigest = digest;
  }

  /** The answer that the id of a sum is about, before it is masked. */
  async #prepare({
    id,
    before,
    operations,
  }: Extract<MemberRequest, { kind: 'advert' | 'chained' }>): Promise<Int32Array> {
    await this.#obey(before, operations);
    if (id.question !== this.#history) throw refused('the id of the sum names another question');
    if (id.tree !== this.#tree) throw refused(`expected a sum of tree ${this.#tree}, got ${id.tree}`);
    if (this.#answer === undefined) throw refused('nothing was asked');
    return this.#answer;
  }

  /** Does what comes before the question and answers it; asked again for the same, it has the answer already. */
  async #obey(before: Digest, operations: readonly MemberOperation[]): Promise<void> {
    const after = extendHistory(this.#planDigest, before, operations);
    if (before === this.#before && after === this.#history) return;
    const begins = operations[0]?.kind === 'begin' || operations[0]?.kind === 'labels';
    if (before !== this.#history && !begins) throw refused('what was asked before was something else');
    // A new history must not hide what was asked in the old one: labels leave no tree open to go on with.
    if (operations[0]?.kind === 'labels' && operations.length > 1)
      throw refused('labels are asked for alone');
    this.#before = before;
    this.#history = after;
    this.#answer = undefined;
    try {
      for (const operation of operations) await this.#do(operation);
    } catch (error) {
      // Half of it was done: members that stand elsewhere must not call it by one name.
      this.#before = NO_DIGEST;
      this.#history = NO_DIGEST;
      this.#answer = undefined;
      await this.#closeShard();
      throw error;
    }
  }

  async #do(operation: MemberOperation): Promise<void> {
    const [plan, rows] = [this.#plan, this.#rows];
    if (plan === undefined || rows === undefined) throw refused('the run was not opened');
    if (operation.kind === 'labels') {
      await this.#closeShard();
      this.#tree = 0;
      const weights = labelWeights(rows.bins.labels, rows.bins.weights, plan.outputs);
      this.#answer = new Int32Array(2 * weights.length);
      writeExacts(weights, this.#answer);
      return;
    }
    if (operation.kind === 'begin') {
      await this.#closeShard();
      const { bins: training, firstRow } = rows;
      const shard = { training, held: noRows(training.binned.binning), firstRow };
      this.#shard = new RowShard({ ...plan, bias: operation.bias }, shard, this.#options.threads);
      this.#shard.restore(operation.trees);
      this.#grown = operation.trees.length;
      return;
    }
    if (this.#shard === undefined) throw refused('the run has not begun');
    if (operation.kind === 'open-tree') this.#tree = this.#grown + 1;
    if (operation.kind === 'add-leaves' || operation.kind === 'add-tree') this.#grown++;
    if (isQuestion(operation)) this.#answer = await this.#shard.ask(operation);
    else await this.#shard.tell(operation);
  }

  async #closeShard(): Promise<void> {
    const shard = this.#shard;
    this.#shard = undefined;
    await shard?.close();
  }
}

const NO_DIGEST = `sha256:${'0'.repeat(64)}` as const;
