import type { FlowBatch } from '../traffic/index.ts';

/** What is known of a flow from those before it. One stream of flows has one of these, in the order of arrival. */
export interface FlowWindows {
  /** Names of the values that `add` writes, in this order. */
  readonly columns: readonly string[];
  /** What is remembered now, and what was pushed out: flows or keys, as the windows have it. */
  readonly remembered: number;
  readonly forgotten: number;
  /**
   * Remembers `rows` rows of a batch from row `from` on, BLOCK at most, but those that `leftOut` marks, and writes their
   * values, each itself included: of the first row from `cells[at]` on, columns BLOCK apart; NaN is missing. Cells of
   * rows that are left out, or are none, may change. Allocates nothing for a row.
   */
  add(
    batch: FlowBatch,
    from: number,
    rows: number,
    leftOut: Uint8Array,
    cells: Float64Array,
    at: number,
  ): void;
}
