import type { Binning } from '../binning.ts';
import type { DividedLeaf, Histogram, LeafState, LeafSums, LossSum } from '../histogram-source.ts';

/**
 * Answers as vectors of int32 that are added up modulo 2^32, wherever and in whichever order. A leaf takes the
 * gradient sums of the columns that are wanted, their hessian sums, and its rows; of a leaf that was cut only the left side
 * travels, the right is what the whole has more.
 */
export class AnswerLayout {
  readonly #plane: number;
  /** Where the wanted columns lie in a plane of a histogram. */
  readonly #ranges: readonly { readonly from: number; readonly to: number }[];
  /** Values of one leaf. */
  readonly leafLength: number;

  constructor({ columns, offsets }: Binning, features: readonly number[]) {
    this.#plane = offsets[columns.length] as number;
    this.#ranges = features.map((f) => ({ from: offsets[f] as number, to: offsets[f + 1] as number }));
    this.leafLength = 2 * this.#ranges.reduce((sum, { from, to }) => sum + to - from, 0) + 1;
  }

  /** Writes a leaf at its place in a vector. */
  write({ histogram, rows }: LeafState, vector: Int32Array, leaf: number): void {
    let at = leaf * this.leafLength;
    for (const plane of [0, this.#plane]) {
      for (const { from, to } of this.#ranges) {
        vector.set(histogram.subarray(plane + from, plane + to), at);
        at += to - from;
      }
    }
    vector[at] = rows;
  }

  /** The leaf at its place in a vector; columns that were not wanted are 0. */
  read(vector: Int32Array, leaf: number): LeafState {
    const histogram = new Int32Array(2 * this.#plane);
    let at = leaf * this.leafLength;
    for (const plane of [0, this.#plane]) {
      for (const { from, to } of this.#ranges) {
        histogram.set(vector.subarray(at, at + to - from), plane + from);
        at += to - from;
      }
    }
    return { histogram, rows: vector[at] as number };
  }
}

/** Both sides of a leaf, from the whole and its left side. */
export function divideState(whole: LeafState, left: LeafState): DividedLeaf {
  const histogram: Histogram = new Int32Array(whole.histogram.length);
  for (let i = 0; i < histogram.length; i++) {
    histogram[i] = (whole.histogram[i] as number) - (left.histogram[i] as number);
  }
  return { left, right: { rows: whole.rows - left.rows, histogram } };
}

/** Values of an exact sum: its low 22 bits, and the rest; five hundred of each still fit 32 bits. */
const LOW = 2 ** 22;
export const SUMS_LENGTH = 5;
export const LOSS_LENGTH = 3;

function writeExact(value: number, vector: Int32Array, at: number): void {
  const high = Math.floor(value / LOW);
  vector[at] = value - high * LOW;
  vector[at + 1] = high;
}

function readExact(vector: Int32Array, at: number): number {
  return (vector[at] as number) + (vector[at + 1] as number) * LOW;
}

export function writeSums(sums: readonly LeafSums[], vector: Int32Array): void {
  sums.forEach(({ rows, gradient, hessian }, i) => {
    vector[i * SUMS_LENGTH] = rows;
    writeExact(gradient, vector, i * SUMS_LENGTH + 1);
    writeExact(hessian, vector, i * SUMS_LENGTH + 3);
  });
}

export function readSums(vector: Int32Array): LeafSums[] {
  return Array.from({ length: vector.length / SUMS_LENGTH }, (_, i) => ({
    rows: vector[i * SUMS_LENGTH] as number,
    gradient: readExact(vector, i * SUMS_LENGTH + 1),
    hessian: readExact(vector, i * SUMS_LENGTH + 3),
  }));
}

export function writeLoss({ sum, rows }: LossSum, vector: Int32Array): void {
  vector[0] = rows;
  writeExact(sum, vector, 1);
}

export function readLoss(vector: Int32Array): LossSum {
  return { rows: vector[0] as number, sum: readExact(vector, 1) };
}

/** Exact sums as pairs: weights of classes, for base margins. */
export function writeExacts(values: ArrayLike<number>, vector: Int32Array): void {
  for (let i = 0; i < values.length; i++) writeExact(values[i] as number, vector, 2 * i);
}

export function readExacts(vector: Int32Array): Float64Array {
  return Float64Array.from({ length: vector.length / 2 }, (_, i) => readExact(vector, 2 * i));
}

/** Adds a vector modulo 2^32. */
export function addVector(sum: Int32Array, vector: Int32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (vector[i] as number);
}
