import type { Binning } from './binning.ts';

/**
 * Sums of gradient levels and of hessian levels by bin: Int32Array, the columns' gradient sums side by side (at
 * `binning.offsets`), then all hessian sums in the same order. Whole numbers: the same whatever the order or the place of
 * the additions, also modulo 2^32.
 */
export type Histogram = Int32Array;

/** Length of a histogram. */
export function histogramLength({ columns, offsets }: Binning): number {
  return 2 * (offsets[columns.length] as number);
}

/** Which leaf is cut in two, and how. The left side keeps the leaf's number, the right side takes `right`. */
export interface LeafSplit {
  readonly leaf: number;
  readonly right: number;
  /** Index into the binning's columns. */
  readonly feature: number;
  /** Uint8Array, 256, one a bin: 1 goes left. */
  readonly left: Uint8Array;
}

/** One side of a cut. Its histogram is valid until the tree is closed. */
export interface LeafState {
  readonly rows: number;
  readonly histogram: Histogram;
}

export interface DividedLeaf {
  readonly left: LeafState;
  readonly right: LeafState;
}

/** A finished leaf: its rows, and the exact sums of their fixed-point gradients and hessians. */
export interface LeafSums {
  readonly rows: number;
  readonly gradient: number;
  readonly hessian: number;
}

/** A loss in whole numbers of 2^-20, exact over any number of shards. */
export interface LossSum {
  readonly sum: number;
  readonly rows: number;
}

/**
 * The rows of a training run, wherever they lie, as the one who grows trees sees them: sums over rows, never rows. Calls
 * come one after the other: `startRound`, then for each class `openTree`, `divide` as often as wanted, `closeTree`,
 * `addLeaves`. Leaves are numbered from 0 (the root) in the order of their making.
 */
export interface HistogramSource {
  readonly binning: Binning;
  /** Outputs a row: 1 for two classes, else the number of classes. */
  readonly outputs: number;
  /** Computes the gradients of all outputs at the present margins. */
  startRound(round: number): Promise<void>;
  /** `features`: the columns whose sums are wanted, ascending; the others' may be anything. Absent: all. */
  openTree(output: number, features?: readonly number[]): Promise<LeafState>;
  /**
   * Cuts leaves, each at most once; the answers stand in the order of the splits. No answers where the rows cannot be asked
   * any more in this tree: its leaves stay uncut, and it is closed with what is known.
   */
  divide(splits: readonly LeafSplit[]): Promise<readonly DividedLeaf[]>;
  /** Makes the last cuts, of which no histograms are wanted, and sums up all leaves, in the order of their numbers. */
  closeTree(splits: readonly LeafSplit[]): Promise<readonly LeafSums[]>;
  /** Adds a value to the margins of each leaf's rows; Float32Array, one a leaf of the tree that was closed. */
  addLeaves(values: Float32Array): Promise<void>;
  /** Loss of the rows that are held out, at the present margins; of no rows where none are. */
  validationLoss(): Promise<LossSum>;
}
