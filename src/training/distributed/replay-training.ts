import type { LabelledBins } from '../binning.ts';
import { type Booster, growTrees } from '../boosting.ts';
import { labelWeights, marginsOfShares } from '../objective.ts';
import { addVector } from './answer.ts';
import type { Notice, Question } from './operation.ts';
import { RemoteSource } from './remote-source.ts';
import { RowShard } from './row-shard.ts';
import { planColumns, planScales, type RunPlan } from './run-plan.ts';
import type { TreeParticipants } from './secure-summation.ts';
import { holdRows, type SecureRecord } from './secure-training.ts';
import { noRows } from './shard-rows.ts';
import type { Summation } from './summation.ts';

/** Who took part, over shards that lie here. */
class ReplaySummation implements Summation {
  readonly #shards: ReadonlyMap<string, RowShard>;
  readonly #participants: readonly TreeParticipants[];
  #pending: Notice[] = [];
  #tree = 0;
  #sums = 0;

  constructor(shards: ReadonlyMap<string, RowShard>, participants: readonly TreeParticipants[]) {
    this.#shards = shards;
    this.#participants = participants;
  }

  async startRound(): Promise<void> {}

  tell(notice: Notice): void {
    this.#pending.push(notice);
  }

  async ask(question: Question, length: number): Promise<Int32Array | undefined> {
    const pending = this.#pending;
    this.#pending = [];
    if (question.kind === 'open-tree') {
      this.#tree++;
      this.#sums = 0;
    }
    const entry = this.#participants.find(({ tree }) => tree === this.#tree);
    const sum = new Int32Array(length);
    for (const [id, shard] of this.#shards) {
      for (const notice of pending) await shard.tell(notice);
      const vector = await shard.ask(question);
      if (entry?.members.includes(id) === true) addVector(sum, vector);
    }
    return this.#sums++ < (entry?.sums ?? 0) ? sum : undefined;
  }

  progress() {
    return { workers: this.#shards.size, sums: 0, bytesSent: 0, bytesReceived: 0, lost: 0, late: 0 };
  }
}

/**
 * Grows the trees of a secure run again, from the rows of its members (in the order of the roster) and its record of who took part in
 * what: whoever may see all rows can check that the model came from them.
 */
export function replayBooster(
  members: ReadonlyMap<string, LabelledBins>,
  {
    participants,
    minCellRows,
    run,
    rows: counted,
  }: Pick<SecureRecord, 'participants' | 'minCellRows' | 'run' | 'rows'>,
  maxWeight = 1,
): Booster {
  return async (bins, options) => {
    const { config, seed, validation, classes = 2, monotone, onProgress } = options;
    const { binning } = bins.binned;
    const outputs = classes === 2 ? 1 : classes;
    const shares = new Float64Array(Math.max(2, outputs));
    const first = participants.find(({ tree }) => tree === 0)?.members ?? [];
    let rows = 0;
    for (const [id, { binned, labels, weights }] of members) {
      rows += binned.rows;
      if (!first.includes(id)) continue;
      for (const [k, share] of labelWeights(labels, weights, outputs).entries()) shares[k]! += share;
    }
    const bias = marginsOfShares(shares, outputs);
    const { gradientLevels, maxLeaves, rowFraction } = config;
    const plan: RunPlan = {
      ...{ v: 1, run, columns: planColumns(binning), outputs, bias: [...bias], maxWeight, gradientLevels },
      ...{ maxLeaves, rowFraction, seed, rows, heldRows: 0, minCellRows },
    };
    const { scales } = planScales(plan);
    const shards = new Map<string, RowShard>();
    let firstRow = 0;
    for (const [id, training] of members) {
      shards.set(id, new RowShard(plan, { training, held: noRows(binning), firstRow }));
      firstRow += counted[id] ?? 0;
    }
    const held = holdRows(plan, validation, options)?.([...bias], []);
    try {
      const summation = new ReplaySummation(shards, participants);
      const source = new RemoteSource({
        ...{ binning, outputs, scales, heldRows: 0, held, bothSides: minCellRows > 1, summation },
      });
      return await growTrees(source, { config, seed, scales, bias, monotone, onProgress });
    } finally {
      await held?.close();
      for (const shard of shards.values()) await shard.close();
    }
  };
}
