import type { Binning } from '../binning.ts';
import type { LeafState } from '../histogram-source.ts';
import { KernelSource } from '../kernel/kernel-source.ts';
import { AnswerLayout, LOSS_LENGTH, SUMS_LENGTH, writeLoss, writeSums } from './answer.ts';
import { joinCells } from './joined-cells.ts';
import { refused } from './message.ts';
import { leafSplits, type Notice, type Operation, type Question } from './operation.ts';
import { planScales, type RunPlan } from './run-plan.ts';
import type { ShardRows } from './shard-rows.ts';
import { addTree, checkTree, type WireTree } from './wire-tree.ts';

type Leaves = 'none' | 'open' | 'closed';

/**
 * Rows of a run in the hands of one who was asked to sum over them. It does what it is asked and answers with vectors. What is
 * asked comes over the wire: anything out of order or out of range is refused with `training.message-refused`, and the
 * bound on what one row adds to a sum is kept here, by the scales of the plan and the highest weight.
 */
export class RowShard {
  readonly binning: Binning;
  readonly #plan: RunPlan;
  readonly #rows: ShardRows;
  readonly #source: KernelSource;
  readonly #features = new Set<number>();
  #layout: AnswerLayout;
  #state: Leaves = 'none';
  #inRound = false;
  #leaves = 0;

  constructor(plan: RunPlan, rows: ShardRows, threads = 1) {
    const { training, held, firstRow } = rows;
    this.#plan = plan;
    this.#rows = rows;
    this.binning = training.binned.binning;
    for (const { binned, labels, weights } of [training, held]) {
      const top = Math.max(2, plan.outputs);
      if (labels.some((label) => label >= top)) throw refused('a label is beyond the classes of the run');
      if (weights?.some((w) => !(w >= 0 && w <= plan.maxWeight)) === true) {
        throw refused(`a row weighs more than ${plan.maxWeight}`);
      }
      this.binning.columns.forEach(({ bins }, f) => {
        const column = binned.bins.subarray(f * binned.rows, (f + 1) * binned.rows);
        if (column.some((bin) => bin >= bins)) throw refused(`column ${f} of a shard has an unknown bin`);
      });
    }
    const { outputs, maxLeaves, rowFraction, gradientLevels, seed } = plan;
    this.#source = new KernelSource({
      ...{
        training,
        validation: held,
        outputs,
        maxLeaves,
        rowFraction,
        gradientLevels,
        seed,
        threads,
        firstRow,
      },
      ...{ bias: Float64Array.from(plan.bias), ...planScales(plan) },
    });
    this.#layout = new AnswerLayout(this.binning, []);
  }

  /** Sets the margins to those of these trees, at the beginning of a round. */
  restore(trees: readonly WireTree[]): void {
    this.#plan.bias.forEach((bias, output) => {
      const { training, held } = this.#source.margins(output);
      training.fill(bias);
      held.fill(bias);
    });
    for (const tree of trees) this.#add(tree);
    this.#state = 'none';
    this.#inRound = false;
  }

  async tell(operation: Notice): Promise<void> {
    switch (operation.kind) {
      case 'start-round':
        this.#inRound = true;
        this.#state = 'none';
        return await this.#source.startRound(operation.round);
      case 'add-leaves':
        if (this.#state !== 'closed' || operation.values.length !== this.#leaves) {
          throw refused('leaf values came for a tree that is not closed, or of other leaves');
        }
        this.#state = 'none';
        return await this.#source.addLeaves(Float32Array.from(operation.values));
      case 'add-tree':
        this.#state = 'none';
        this.#add(operation.tree);
        return;
      default:
        operation satisfies never;
    }
  }

  /** The answer, a vector of the caller's. */
  async ask(question: Question): Promise<Int32Array> {
    switch (question.kind) {
      case 'open-tree': {
        const { output, features } = question;
        const isKnown = features.every(
          (f, i) => f < this.binning.columns.length && (i === 0 || f > (features[i - 1] as number)),
        );
        if (!this.#inRound || output >= this.#plan.outputs || !isKnown)
          throw refused('a tree cannot be opened so');
        this.#layout = new AnswerLayout(this.binning, features);
        this.#features.clear();
        for (const f of features) this.#features.add(f);
        this.#leaves = 1;
        this.#state = 'open';
        const vector = new Int32Array(this.#layout.leafLength);
        const [root] = this.#released([await this.#source.openTree(output)]) as [LeafState];
        this.#layout.write(root, vector, 0);
        return vector;
      }
      case 'divide': {
        const divided = await this.#source.divide(this.#cuts(question.splits));
        const vector = new Int32Array(divided.length * this.#sides * this.#layout.leafLength);
        for (const [i, { left, right }] of divided.entries()) {
          const states = this.#sides === 1 ? [left] : this.#released([left, right]);
          for (const [side, state] of states.entries())
            this.#layout.write(state, vector, i * this.#sides + side);
        }
        return vector;
      }
      case 'close-tree': {
        const { minCellRows } = this.#plan;
        const all = await this.#source.closeTree(this.#cuts(question.splits));
        const sums = all.map((leaf) =>
          leaf.rows < minCellRows ? { rows: 0, gradient: 0, hessian: 0 } : leaf,
        );
        this.#state = 'closed';
        const vector = new Int32Array(sums.length * SUMS_LENGTH);
        writeSums(sums, vector);
        return vector;
      }
      case 'loss': {
        const vector = new Int32Array(LOSS_LENGTH);
        writeLoss(await this.#source.validationLoss(), vector);
        return vector;
      }
      case 'gradients':
        throw refused('rows of trees have no gradients of a network');
      default:
        return question satisfies never;
    }
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  /** Length of the answer to a question, were it asked now. */
  answerLength(question: Question): number {
    if (question.kind === 'loss') return LOSS_LENGTH;
    if (question.kind === 'gradients') return 0;
    if (question.kind === 'open-tree') return new AnswerLayout(this.binning, question.features).leafLength;
    if (question.kind === 'divide') return question.splits.length * this.#sides * this.#layout.leafLength;
    return (this.#leaves + question.splits.length) * SUMS_LENGTH;
  }

  /** Sides of a cut leaf that are answered. */
  get #sides(): 1 | 2 {
    return this.#plan.minCellRows > 1 ? 2 : 1;
  }

  /** What may be said of leaves that part a whole. */
  #released(states: readonly LeafState[]): readonly LeafState[] {
    const { minCellRows, gradientLevels } = this.#plan;
    if (minCellRows === 1) return states;
    // A row adds `gradientLevels` levels of hessian at most: so many levels are so many rows at least.
    return joinCells(states, this.binning, minCellRows * gradientLevels);
  }

  #add(tree: WireTree): void {
    checkTree(tree, this.#plan.outputs, this.binning.columns.length);
    const { training, held } = this.#source.margins(tree.output);
    addTree(tree, this.#rows.training.binned, training);
    addTree(tree, this.#rows.held.binned, held);
  }

  #cuts(splits: Extract<Operation, { kind: 'divide' }>['splits']) {
    // Leaves of an earlier tree stay until the next is opened, and would be summed with the gradients of a new round.
    if (this.#state === 'none') throw refused('no tree is open');
    const leaves = this.#leaves;
    const cut = new Set<number>();
    for (const [i, { leaf, right, feature }] of splits.entries()) {
      const isFresh = leaf < leaves && !cut.has(leaf) && right === leaves + i;
      if (
        this.#state !== 'open' ||
        !isFresh ||
        right >= this.#plan.maxLeaves ||
        !this.#features.has(feature)
      ) {
        throw refused('leaves cannot be cut so');
      }
      cut.add(leaf);
    }
    this.#leaves += splits.length;
    return leafSplits(splits);
  }
}
