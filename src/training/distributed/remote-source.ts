import type { Binning } from '../binning.ts';
import type {
  DividedLeaf,
  HistogramSource,
  LeafSplit,
  LeafState,
  LeafSums,
  LossSum,
} from '../histogram-source.ts';
import { FIXED_POINT } from '../objective.ts';
import type { QuantizationScales } from '../quantization.ts';
import { AnswerLayout, divideState, LOSS_LENGTH, readLoss, readSums, SUMS_LENGTH } from './answer.ts';
import { wireSplits } from './operation.ts';
import type { Summation } from './summation.ts';
import { packSides, type WireTree } from './wire-tree.ts';

export interface RemoteSourceOptions {
  readonly binning: Binning;
  readonly outputs: number;
  readonly scales: QuantizationScales;
  /** Rows that others hold for early stopping; 0: `held` says. */
  readonly heldRows: number;
  /** Rows held out by the one who grows the trees. */
  readonly held?: HistogramSource | undefined;
  readonly summation: Summation;
  /** Both sides of a cut leaf are answered, because cells were joined in each. */
  readonly bothSides?: boolean;
  /** Trees that are there already. */
  readonly trees?: readonly WireTree[] | undefined;
}

/** Rows that lie with others, as one source: each question goes to all of them, and their answers are added up. */
export class RemoteSource implements HistogramSource {
  readonly binning: Binning;
  readonly outputs: number;
  readonly #options: RemoteSourceOptions;
  readonly #trees: WireTree[];
  #layout: AnswerLayout;
  #states: LeafState[] = [];
  /** Node of each leaf in the tree in hand. */
  #nodes: number[] = [];
  #tree: WireTree = emptyTree(0);
  #ended = false;
  #features: readonly number[] = [];

  constructor(options: RemoteSourceOptions) {
    this.binning = options.binning;
    this.outputs = options.outputs;
    this.#options = options;
    this.#trees = [...(options.trees ?? [])];
    this.#layout = new AnswerLayout(this.binning, []);
  }

  async startRound(round: number): Promise<void> {
    const { summation, held } = this.#options;
    await summation.startRound(round, [...this.#trees]);
    summation.tell({ kind: 'start-round', round });
    await held?.startRound(round);
  }

  async openTree(
    output: number,
    features: readonly number[] = this.binning.columns.map((_, f) => f),
  ): Promise<LeafState> {
    const { summation, held } = this.#options;
    this.#layout = new AnswerLayout(this.binning, features);
    this.#features = features;
    this.#tree = emptyTree(output);
    this.#nodes = [0];
    this.#ended = false;
    const question = { kind: 'open-tree', output, features: [...features] } as const;
    const sum = await summation.ask(question, this.#layout.leafLength);
    await held?.openTree(output);
    const root = sum === undefined ? this.#nothing() : this.#layout.read(sum, 0);
    this.#ended = sum === undefined;
    this.#states = [root];
    return root;
  }

  async divide(splits: readonly LeafSplit[]): Promise<readonly DividedLeaf[]> {
    const { summation, held } = this.#options;
    if (this.#ended) return [];
    const question = { kind: 'divide', splits: wireSplits(splits) } as const;
    const sides = this.#options.bothSides === true ? 2 : 1;
    const sum = await summation.ask(question, sides * splits.length * this.#layout.leafLength);
    if (sum === undefined) {
      this.#ended = true;
      return [];
    }
    await held?.closeTree(splits);
    this.#note(splits);
    return splits.map(({ leaf, right }, i) => {
      const first = this.#layout.read(sum, sides * i);
      const divided =
        sides === 2
          ? { left: first, right: this.#layout.read(sum, 2 * i + 1) }
          : divideState(this.#states[leaf] as LeafState, first);
      this.#states[leaf] = divided.left;
      this.#states[right] = divided.right;
      return divided;
    });
  }

  async closeTree(splits: readonly LeafSplit[]): Promise<readonly LeafSums[]> {
    const { summation, held } = this.#options;
    const question = { kind: 'close-tree', splits: wireSplits(splits) } as const;
    const length = (this.#states.length + splits.length) * SUMS_LENGTH;
    const sum = this.#ended ? undefined : await summation.ask(question, length);
    await held?.closeTree(splits);
    this.#note(splits);
    if (sum !== undefined) return readSums(sum);
    this.#ended = true;
    return this.#sumsOfHistograms(splits);
  }

  async addLeaves(values: Float32Array): Promise<void> {
    const { summation, held } = this.#options;
    values.forEach((value, leaf) => {
      this.#tree.value[this.#nodes[leaf] as number] = value;
    });
    // Who was asked for more than could be answered has cut leaves that are none.
    if (this.#ended) summation.tell({ kind: 'add-tree', tree: this.#tree });
    else summation.tell({ kind: 'add-leaves', values: [...values] });
    await held?.addLeaves(values);
    this.#trees.push(this.#tree);
  }

  async validationLoss(): Promise<LossSum> {
    const { summation, held, heldRows } = this.#options;
    if (held !== undefined) return await held.validationLoss();
    if (heldRows === 0) return { sum: 0, rows: 0 };
    const sum = await summation.ask({ kind: 'loss' }, LOSS_LENGTH);
    return sum === undefined ? { sum: 0, rows: 0 } : readLoss(sum);
  }

  #note(splits: readonly LeafSplit[]): void {
    const { child, feature, left, value } = this.#tree;
    for (const split of splits) {
      const node = this.#nodes[split.leaf] as number;
      const next = child.length;
      child[node] = next;
      feature[node] = split.feature;
      left[node] = packSides(split.left);
      child.push(0, 0);
      feature.push(-1, -1);
      left.push('', '');
      value.push(0, 0);
      this.#nodes[split.leaf] = next;
      this.#nodes[split.right] = next + 1;
    }
  }

  /** What the levels of the opened histograms say where exact sums cannot be had: rows by their share of the hessians. */
  #sumsOfHistograms(splits: readonly LeafSplit[]): LeafSums[] {
    const { scales } = this.#options;
    const levels = this.#states.map((state) => ({ ...this.#levels(state), rows: state.rows }));
    for (const { leaf, right, feature, left } of splits) {
      const whole = levels[leaf] as (typeof levels)[number];
      const part = this.#levels(this.#states[leaf] as LeafState, feature, left);
      const rows = whole.h > 0 ? Math.round((whole.rows * part.h) / whole.h) : 0;
      levels[right] = { g: whole.g - part.g, h: whole.h - part.h, rows: whole.rows - rows };
      levels[leaf] = { ...part, rows };
    }
    return levels.map(({ g, h, rows }) => ({
      rows,
      gradient: g * scales.gradient * FIXED_POINT,
      hessian: h * scales.hessian * FIXED_POINT,
    }));
  }

  #levels({ histogram }: LeafState, feature = this.#features[0] ?? -1, left?: Uint8Array) {
    let [g, h] = [0, 0];
    if (feature === -1) return { g, h };
    const { offsets } = this.binning;
    const plane = histogram.length / 2;
    const from = offsets[feature] as number;
    for (let i = from; i < (offsets[feature + 1] as number); i++) {
      if (left !== undefined && left[i - from] !== 1) continue;
      g += histogram[i] as number;
      h += histogram[plane + i] as number;
    }
    return { g, h };
  }

  #nothing(): LeafState {
    return {
      rows: 0,
      histogram: new Int32Array(2 * (this.binning.offsets[this.binning.columns.length] as number)),
    };
  }
}

function emptyTree(output: number): WireTree {
  return { output, child: [0], feature: [-1], left: [''], value: [0] };
}
