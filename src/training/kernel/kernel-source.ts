import type { Binning, LabelledBins } from '../binning.ts';

import {
  type DividedLeaf,
  type HistogramSource,
  histogramLength,
  type LeafSplit,
  type LeafState,
  type LeafSums,
  type LossSum,
} from '../histogram-source.ts';
import { FIXED_POINT, lossSum } from '../objective.ts';
import { levelsPerUnit, packedRows, type QuantizationScales, roundDraws } from '../quantization.ts';
import { KernelThreads } from './kernel-threads.ts';
import { TASK } from './training-kernel.ts';
import { layOutMemory, type TrainingMemory } from './training-memory.ts';

export interface SourceOptions {
  readonly training: LabelledBins;
  readonly validation?: LabelledBins | undefined;
  /** 1 for two classes, else the number of classes. */
  readonly outputs: number;
  /** Margin of each output before the first tree. */
  readonly bias: Float64Array;
  readonly scales: QuantizationScales;
  readonly gradientLevels: number;
  /** Absent: exact. */
  readonly leafSums?: 'exact' | 'rounded' | undefined;
  /** What softmax hessians are multiplied with. */
  readonly hessianFactor: number;
  readonly maxLeaves: number;
  readonly rowFraction: number;
  readonly seed: number;
  readonly threads: number;
  /** Rows per block of packed sums at most; the result does not depend on it. */
  readonly blockRows?: number | undefined;
  /** Number of the first row among the rows of all shards. */
  readonly firstRow?: number | undefined;
}

interface Leaf {
  from: number;
  rows: number;
  /** The same of the rows held out. */
  heldFrom: number;
  heldRows: number;
  /** Address of its histogram. */
  histogram: number;
}

interface Cut {
  readonly split: LeafSplit;
  readonly table: number;
  /** Words of the tasks that cut its rows, and where each began. */
  readonly tasks: { readonly at: number; readonly from: number; readonly rows: number }[];
  held: number;
}

/** Rows of one task at least, where a leaf is shared between threads. */
const SLICE_ROWS = 16_384;

/** Share of rows with a gradient other than 0 from which on the root is summed as its rows lie. */
const LISTED_SHARE = 0.75;

/**
 * The rows of a run in one shared memory, summed by WebAssembly kernels on `threads` threads. Sums of whole numbers: the
 * number of threads and the blocks change nothing. Not for concurrent use; `close` ends its threads.
 */
export class KernelSource implements HistogramSource {
  readonly binning: Binning;
  readonly outputs: number;
  readonly #options: SourceOptions;
  readonly #memory: TrainingMemory;
  readonly #threads: KernelThreads;
  readonly #leaves: Leaf[] = [];
  readonly #partials: number[];
  #output = 0;

  constructor(options: SourceOptions) {
    const { training, validation, outputs, maxLeaves, threads, gradientLevels, leafSums } = options;
    this.binning = training.binned.binning;
    this.outputs = outputs;
    this.#options = options;
    const memory = layOutMemory({
      training,
      validation,
      outputs,
      maxLeaves,
      threads,
      keepGradients: leafSums !== 'rounded',
    });
    this.#memory = memory;
    this.#threads = new KernelThreads({
      memory: memory.memory,
      control: memory.control,
      tasks: memory.tasks,
      scratch: memory.scratch,
      constants: {
        stride: memory.stride,
        columns: this.binning.columns.length,
        widths: memory.widths,
        limit: Math.min(options.blockRows ?? Number.POSITIVE_INFINITY, packedRows(gradientLevels)),
        planeBytes: histogramLength(this.binning) * 2,
      },
    });
    this.#partials = memory.partials;
    for (let k = 0; k < outputs; k++) {
      const bias = options.bias[k] as number;
      memory.f64(memory.margins + k * memory.rows * 8, memory.rows).fill(bias);
      memory.f64(memory.heldMargins + k * memory.heldRows * 8, memory.heldRows).fill(bias);
    }
  }

  /** The margins of an output, training rows and rows held out, in place; whoever writes them takes the source's part. */
  margins(output: number): { readonly training: Float64Array; readonly held: Float64Array } {
    const m = this.#memory;
    return {
      training: m.f64(m.margins + output * m.rows * 8, this.#options.training.binned.rows),
      held: m.f64(m.heldMargins + output * m.heldRows * 8, m.heldRows),
    };
  }

  async startRound(round: number): Promise<void> {
    const { outputs, seed, rowFraction, scales, hessianFactor, training, firstRow = 0 } = this.#options;
    const m = this.#memory;
    const draws = roundDraws(seed, round, outputs, rowFraction);
    const { gradient, hessian } = levelsPerUnit(scales);
    m.i32(m.bases, outputs).set(draws.rounding);
    const n = training.binned.rows;
    const sampling = [draws.sampling, draws.sampleLimit];
    for (let from = 0; from < n; from += SLICE_ROWS) {
      const to = Math.min(n, from + SLICE_ROWS);
      if (outputs === 1) {
        const [base] = draws.rounding;
        this.#threads.add(
          [
            ...[TASK.binaryGradients, m.margins, m.labels, m.weights, from, to, firstRow, base as number],
            ...[...sampling, m.gradients, m.hessians, m.packed],
          ],
          gradient,
          hessian,
        );
      } else {
        // Terms of the softmax: room for each slice, since slices run at once.
        const terms = m.terms + (from / SLICE_ROWS) * outputs * 32;
        this.#threads.add(
          [
            ...[TASK.softmaxGradients, m.margins, outputs, m.rows, m.labels, m.weights, from, to, firstRow],
            ...[m.bases, ...sampling, terms, m.gradients, m.hessians, m.packed],
          ],
          gradient,
          hessian,
          hessianFactor,
        );
      }
    }
    this.#threads.run();
  }

  async openTree(output: number): Promise<LeafState> {
    const m = this.#memory;
    const { training, validation } = this.#options;
    const rows = training.binned.rows;
    const heldRows = validation?.binned.rows ?? 0;
    this.#output = output;
    const packed = m.packed + output * m.rows * 4;
    const tasks: number[] = [];
    for (let from = 0; from < rows; from += SLICE_ROWS) {
      tasks.push(
        this.#threads.add([TASK.listRows, packed, from, Math.min(rows, from + SLICE_ROWS), m.entries]),
      );
    }
    // Rows held out have no gradients: the packed half of their entries is never read.
    if (heldRows > 0) this.#threads.add([TASK.listRows, m.packed, 0, heldRows, m.heldEntries]);
    this.#threads.run();
    const filled = tasks.reduce((sum, at) => sum + (this.#threads.views.words[at + 5] as number), 0);
    const root: Leaf = { from: 0, rows, heldFrom: 0, heldRows, histogram: m.histograms };
    this.#leaves.length = 0;
    this.#leaves.push(root);
    this.#build([{ leaf: root, parent: 0 }], filled > LISTED_SHARE * rows);
    return this.#state(root);
  }

  async divide(splits: readonly LeafSplit[]): Promise<readonly DividedLeaf[]> {
    this.#cut(splits);
    const wanted: { leaf: Leaf; parent: number }[] = [];
    for (const { leaf, right } of splits) {
      const l = this.#leaves[leaf] as Leaf;
      const r = this.#leaves[right] as Leaf;
      // The smaller side is summed, the other is what the parent has more.
      const [small, large] = l.rows <= r.rows ? [l, r] : [r, l];
      const parent = l.histogram;
      small.histogram = this.#memory.histograms + right * this.#memory.histogramBytes;
      large.histogram = parent;
      wanted.push({ leaf: small, parent });
    }
    this.#build(wanted);
    return splits.map(({ leaf, right }) => ({
      left: this.#state(this.#leaves[leaf] as Leaf),
      right: this.#state(this.#leaves[right] as Leaf),
    }));
  }

  async closeTree(splits: readonly LeafSplit[]): Promise<readonly LeafSums[]> {
    const m = this.#memory;
    const { scales, leafSums } = this.#options;
    const isRounded = leafSums === 'rounded';
    this.#cut(splits);
    const shift = this.#output * m.rows * 4;
    this.#leaves.forEach(({ from, rows }, i) => {
      const [entries, out] = [m.entries + from * 8, m.sums + i * 16];
      if (isRounded) this.#threads.add([TASK.levelSums, entries, rows, out]);
      else this.#threads.add([TASK.leafSums, entries, rows, m.gradients + shift, m.hessians + shift, out]);
    });
    this.#threads.run();
    const sums = m.f64(m.sums, 2 * this.#leaves.length);
    const perGradient = isRounded ? scales.gradient * FIXED_POINT : 1;
    const perHessian = isRounded ? scales.hessian * FIXED_POINT : 1;
    return this.#leaves.map(({ rows }, i) => ({
      rows,
      gradient: (sums[2 * i] as number) * perGradient,
      hessian: (sums[2 * i + 1] as number) * perHessian,
    }));
  }

  async addLeaves(values: Float32Array): Promise<void> {
    const m = this.#memory;
    const margins = m.margins + this.#output * m.rows * 8;
    const heldMargins = m.heldMargins + this.#output * m.heldRows * 8;
    this.#leaves.forEach(({ from, rows, heldFrom, heldRows }, i) => {
      const value = values[i] as number;
      if (rows > 0) this.#threads.add([TASK.addLeaf, m.entries + from * 8, rows, margins], value);
      if (heldRows > 0)
        this.#threads.add([TASK.addLeaf, m.heldEntries + heldFrom * 8, heldRows, heldMargins], value);
    });
    this.#threads.run();
  }

  async validationLoss(): Promise<LossSum> {
    const { validation, outputs } = this.#options;
    if (validation === undefined) return { sum: 0, rows: 0 };
    const m = this.#memory;
    const margins = m.f64(m.heldMargins, m.heldRows * outputs);
    return lossSum(margins, m.heldRows, outputs, validation.labels, validation.weights);
  }

  /** Ends the threads. */
  close(): Promise<void> {
    return this.#threads.close();
  }

  #state({ rows, histogram }: Leaf): LeafState {
    return { rows, histogram: this.#memory.i32(histogram, histogramLength(this.binning)) };
  }

  /** Cuts the row numbers of leaves in two; large leaves in slices, which are joined afterwards. */
  #cut(splits: readonly LeafSplit[]): void {
    const m = this.#memory;
    const slices = this.#options.threads === 1 ? Number.POSITIVE_INFINITY : SLICE_ROWS;
    const cuts = splits.map((split): Cut => {
      const leaf = this.#leaves[split.leaf] as Leaf;
      const table = m.tables + split.leaf * 256;
      m.u8(table, 256).set(split.left);
      const column = m.columnBins + split.feature * m.rows;
      const cut: Cut = { split, table, tasks: [], held: 0 };
      for (let from = 0; from === 0 || from < leaf.rows; from += slices) {
        const rows = Math.min(slices, leaf.rows - from);
        const begin = (leaf.from + from) * 8;
        const at = this.#threads.add([
          TASK.partition,
          m.entries + begin,
          rows,
          column,
          table,
          m.right + begin,
        ]);
        cut.tasks.push({ at, from: leaf.from + from, rows });
      }
      if (leaf.heldRows > 0) {
        const begin = leaf.heldFrom * 8;
        const heldColumn = m.heldColumnBins + split.feature * m.heldRows;
        cut.held = this.#threads.add([
          ...[TASK.partition, m.heldEntries + begin, leaf.heldRows, heldColumn, table, m.heldRight + begin],
        ]);
      }
      return cut;
    });
    this.#threads.run();
    const { words } = this.#threads.views;
    for (const { split, tasks, held } of cuts) {
      const leaf = this.#leaves[split.leaf] as Leaf;
      // Left rows of later slices move down first: their places are overwritten by right rows afterwards.
      const entries = m.f64(m.entries, m.rows);
      let to = leaf.from;
      for (const { at, from } of tasks) {
        const left = words[at + 6] as number;
        if (from !== to) entries.copyWithin(to, from, from + left);
        to += left;
      }
      const leftRows = to - leaf.from;
      const right = m.f64(m.right, m.rows);
      for (const { at, from, rows } of tasks) {
        const count = rows - (words[at + 6] as number);
        entries.set(right.subarray(from, from + count), to);
        to += count;
      }
      const heldLeft = leaf.heldRows === 0 ? 0 : (words[held + 6] as number);
      const heldFrom = leaf.heldFrom + heldLeft;
      const heldRows = leaf.heldRows - heldLeft;
      m.f64(m.heldEntries + heldFrom * 8, heldRows).set(m.f64(m.heldRight + leaf.heldFrom * 8, heldRows));
      this.#leaves[split.right] = {
        ...{ from: leaf.from + leftRows, rows: leaf.rows - leftRows, heldFrom, heldRows, histogram: 0 },
      };
      leaf.rows = leftRows;
      leaf.heldRows = heldLeft;
    }
  }

  /** Sums leaves up, and takes them from their parents' sums. */
  #build(wanted: readonly { readonly leaf: Leaf; readonly parent: number }[], asTheyLie = false): void {
    const m = this.#memory;
    const { threads } = this.#options;
    const shift = this.#output * m.rows * 4;
    const total = wanted.reduce((sum, { leaf }) => sum + leaf.rows, 0);
    // With several threads a leaf with a large share of the rows is summed in slices.
    const share =
      threads === 1 ? Number.POSITIVE_INFINITY : Math.max(SLICE_ROWS, Math.ceil(total / (2 * threads)));
    const joins: { leaf: Leaf; parent: number; parts: number[] }[] = [];
    let partials = 0;
    const add = (from: number, rows: number, out: number, parent: number): void => {
      if (asTheyLie) {
        this.#threads.add([TASK.rootHistogram, m.packed + shift, from, rows, m.rowBins, out]);
        return;
      }
      this.#threads.add([...[TASK.histogram, m.entries + from * 8, rows, m.rowBins, out, parent]]);
    };
    for (const { leaf, parent } of wanted) {
      const pieces = Math.ceil(leaf.rows / share);
      if (pieces < 2) {
        add(leaf.from, leaf.rows, leaf.histogram, parent);
        continue;
      }
      const size = Math.ceil(leaf.rows / pieces);
      const parts: number[] = [];
      for (let p = 0; p < pieces; p++) {
        const out = p === 0 ? leaf.histogram : (this.#partials[partials++] as number);
        if (p > 0) parts.push(out);
        add(leaf.from + p * size, Math.min(size, leaf.rows - p * size), out, 0);
      }
      joins.push({ leaf, parent, parts });
    }
    this.#threads.run();
    const entries = histogramLength(this.binning);
    for (const { leaf, parent, parts } of joins) {
      for (const part of parts) this.#threads.kernel.add(leaf.histogram, part, entries);
      if (parent !== 0) this.#threads.kernel.subtract(parent, leaf.histogram, entries);
    }
  }
}
