import { deterministicExp, sigmoid } from '../../src/models/index.ts';
import type { Binning, LabelledBins } from '../../src/training/binning.ts';

import {
  type DividedLeaf,
  type HistogramSource,
  histogramLength,
  type LeafSplit,
  type LeafState,
  type LeafSums,
  type LossSum,
} from '../../src/training/histogram-source.ts';
import type { SourceOptions } from '../../src/training/kernel/kernel-source.ts';
import { FIXED_POINT, lossSum } from '../../src/training/objective.ts';
import { counterHash, levelsPerUnit } from '../../src/training/quantization.ts';

/**
 * The naive twin of `KernelSource`: lists of rows, one row after the other, every histogram from its own rows. Same integers,
 * so same trees.
 */
export class PlainHistogramSource implements HistogramSource {
  readonly binning: Binning;
  readonly outputs: number;
  readonly #options: SourceOptions;
  readonly #training: LabelledBins;
  readonly #margins: Float64Array[];
  readonly #heldMargins: Float64Array[];
  readonly #gradients: number[][] = [];
  readonly #hessians: number[][] = [];
  readonly #levels: { g: number; h: number }[][] = [];
  #output = 0;
  #leaves: number[][] = [];
  #heldLeaves: number[][] = [];

  constructor(options: SourceOptions) {
    const { training, validation, outputs, bias } = options;
    this.binning = training.binned.binning;
    this.outputs = outputs;
    this.#options = options;
    this.#training = training;
    const start = (rows: number) =>
      Array.from({ length: outputs }, (_, k) => new Float64Array(rows).fill(bias[k] as number));
    this.#margins = start(training.binned.rows);
    this.#heldMargins = start(validation?.binned.rows ?? 0);
  }

  async startRound(round: number): Promise<void> {
    const { outputs, seed, rowFraction, hessianFactor, scales } = this.#options;
    const { labels, weights, binned } = this.#training;
    const per = levelsPerUnit(scales);
    for (let k = 0; k < outputs; k++) {
      this.#gradients[k] = [];
      this.#hessians[k] = [];
      this.#levels[k] = [];
    }
    for (let r = 0; r < binned.rows; r++) {
      const isInside =
        rowFraction === 1 || counterHash(seed ^ 0x5bd1e995, round, r) < Math.floor(rowFraction * 2 ** 32);
      const p = this.#probabilities(r);
      const w = (weights === undefined ? 1 : (weights[r] as number)) * FIXED_POINT;
      for (let k = 0; k < outputs; k++) {
        const q = p[k] as number;
        const y = outputs === 1 ? (labels[r] as number) : labels[r] === k ? 1 : 0;
        const curvature = outputs === 1 ? q * (1 - q) : q * (1 - q) * hessianFactor;
        const g = isInside ? Math.floor((q - y) * w + 0.5) : 0;
        const h = isInside ? Math.floor(curvature * w + 0.5) : 0;
        const u = (counterHash(seed, round * outputs + k, r) >>> 8) / 2 ** 24;
        this.#gradients[k]?.push(g);
        this.#hessians[k]?.push(h);
        this.#levels[k]?.push({
          g: Math.sign(g) * Math.floor(Math.abs(g) * per.gradient + u),
          h: Math.floor(h * per.hessian + u),
        });
      }
    }
  }

  async openTree(output: number): Promise<LeafState> {
    this.#output = output;
    this.#leaves = [[...this.#training.labels.keys()]];
    this.#heldLeaves = [[...(this.#options.validation?.labels.keys() ?? [])]];
    return this.#state(0);
  }

  async divide(splits: readonly LeafSplit[]): Promise<readonly DividedLeaf[]> {
    this.#cut(splits);
    return splits.map(({ leaf, right }) => ({ left: this.#state(leaf), right: this.#state(right) }));
  }

  async closeTree(splits: readonly LeafSplit[]): Promise<readonly LeafSums[]> {
    this.#cut(splits);
    const { leafSums, scales } = this.#options;
    if (leafSums === 'rounded') {
      const levels = this.#levels[this.#output] as { g: number; h: number }[];
      const levelSum = (rows: number[], key: 'g' | 'h') =>
        rows.reduce((total, r) => total + (levels[r]?.[key] as number), 0);
      return this.#leaves.map((rows) => ({
        rows: rows.length,
        gradient: levelSum(rows, 'g') * (scales.gradient * FIXED_POINT),
        hessian: levelSum(rows, 'h') * (scales.hessian * FIXED_POINT),
      }));
    }
    const sum = (rows: number[], of: number[] | undefined) =>
      rows.reduce((total, r) => total + (of?.[r] as number), 0);
    return this.#leaves.map((rows) => ({
      rows: rows.length,
      gradient: sum(rows, this.#gradients[this.#output]),
      hessian: sum(rows, this.#hessians[this.#output]),
    }));
  }

  async addLeaves(values: Float32Array): Promise<void> {
    const add = (margins: Float64Array | undefined, leaves: number[][]) => {
      leaves.forEach((rows, i) => {
        for (const r of rows) if (margins) margins[r] = (margins[r] as number) + (values[i] as number);
      });
    };
    add(this.#margins[this.#output], this.#leaves);
    add(this.#heldMargins[this.#output], this.#heldLeaves);
  }

  async validationLoss(): Promise<LossSum> {
    const { validation, outputs } = this.#options;
    if (validation === undefined) return { sum: 0, rows: 0 };
    const margins = Float64Array.from(this.#heldMargins.flatMap((output) => [...output]));
    return lossSum(margins, validation.binned.rows, outputs, validation.labels, validation.weights);
  }

  #probabilities(r: number): number[] {
    const margins = this.#margins.map((output) => output[r] as number);
    if (this.outputs === 1) return [sigmoid(margins[0] as number)];
    const top = Math.max(...margins);
    const terms = margins.map((m) => (m - top < -708 ? 0 : deterministicExp(m - top)));
    let sum = 0;
    for (const e of terms) sum += e;
    return terms.map((e) => e / sum);
  }

  #state(leaf: number): LeafState {
    const rows = this.#leaves[leaf] as number[];
    const histogram = new Int32Array(histogramLength(this.binning));
    const { bins, rows: n } = this.#training.binned;
    const levels = this.#levels[this.#output] as { g: number; h: number }[];
    this.binning.columns.forEach((_, f) => {
      for (const r of rows) {
        const at = (this.binning.offsets[f] as number) + (bins[f * n + r] as number);
        const { g, h } = levels[r] as { g: number; h: number };
        histogram[at]! += g;
        histogram[histogram.length / 2 + at]! += h;
      }
    });
    return { rows: rows.length, histogram };
  }

  #cut(splits: readonly LeafSplit[]): void {
    const cut = (leaves: number[][], rows: LabelledBins | undefined) => {
      if (rows === undefined) return;
      for (const { leaf, right, feature, left } of splits) {
        const goesLeft = (r: number) =>
          left[rows.binned.bins[feature * rows.binned.rows + r] as number] === 1;
        const all = leaves[leaf] as number[];
        leaves[leaf] = all.filter(goesLeft);
        leaves[right] = all.filter((r) => !goesLeft(r));
      }
    };
    cut(this.#leaves, this.#training);
    cut(this.#heldLeaves, this.#options.validation);
  }
}
