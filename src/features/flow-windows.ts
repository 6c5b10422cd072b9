import type { FlowBatch } from '../traffic/index.ts';

/** What is known of a flow from those before it. One stream of flows has one of these, in the order of arrival. */
export interface FlowWindows {
  /** Names of the values that `add` writes, in this order. */
  readonly columns: readonly string[];
  /** What is remembered now, and what was pushed out: flows or keys, as the windows have it. */
  readonly remembered: number;
  readonly forgotten: number;
  /**
   * Remembers a row of a batch and writes its values, itself included: the first at `cells[at]`, the others `stride`
   * apart; NaN is missing. Allocates nothing.
   */
  add(batch: FlowBatch, row: number, cells: Float64Array, at: number, stride: number): void;
}
