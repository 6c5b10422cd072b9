import type { Milliseconds } from '../../base/index.ts';
import type { ScoreBatchBuffers } from '../../models/index.ts';
import type { Slice } from './slice.ts';

/** Of a runtime that answers later: it may still read a batch that its callers have given up. */
export class LaterBuffers {
  /** Float32Array, row-major. */
  readonly values: Float32Array;
  readonly out: ScoreBatchBuffers;

  constructor(values: number, rows: number) {
    this.values = new Float32Array(values);
    this.out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  }
}

/** Copies the rows of slices one behind the other. Gives how many. */
export function copyValues(slices: readonly Slice[], columns: number, to: Float32Array): number {
  let at = 0;
  for (const { batch, from, rows } of slices) {
    const source = batch.values;
    const isWhole = from === 0 && source.length === rows * columns;
    to.set(isWhole ? source : source.subarray(from * columns, (from + rows) * columns), at * columns);
    at += rows;
  }
  return at;
}

/**
 * Gives a slice its results, which begin at row `at` of the batch, and says so to its owner: what is wrong with its rows is its
 * own. Gives where the next slice's begin.
 */
export function giveResults(slice: Slice, from: ScoreBatchBuffers, at: number, took: Milliseconds): number {
  const { rows, served, batch, out, confidenceThreshold, owner } = slice;
  const end = at + rows;
  if (slice.isGone) return end;
  out.probability.set(from.probability.subarray(at, end), slice.from);
  out.kind.set(from.kind.subarray(at, end), slice.from);
  try {
    served.decide(batch, slice.from, slice.from + rows, confidenceThreshold, out);
  } catch (error) {
    owner.failed(slice, took, error);
    return end;
  }
  owner.scored(slice, took);
  return end;
}
