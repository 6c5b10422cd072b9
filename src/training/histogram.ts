import type { BinnedRows } from './binning.ts';
import { addPacked, PACKED_ROWS } from './quantization.ts';

/** Numbers of one bin in a histogram: sum of gradient levels, sum of hessian levels, rows. */
export const HISTOGRAM_STRIDE = 3;

/** Adds up quantized gradients per bin. Scratch is made once; not for concurrent use. */
export class HistogramBuilder {
  readonly #binned: BinnedRows;
  readonly #offsets: Uint32Array;
  readonly #sums: Float64Array;
  readonly #blockRows: number;

  /** `blockRows` rows are summed before they are taken apart; the result does not depend on it. */
  constructor(binned: BinnedRows, blockRows = PACKED_ROWS) {
    this.#binned = binned;
    this.#offsets = binned.binning.offsets;
    this.#sums = new Float64Array(this.#offsets[binned.binning.columns.length] as number);
    this.#blockRows = Math.min(blockRows, PACKED_ROWS);
  }

  /** Length of a histogram: all bins of all columns x HISTOGRAM_STRIDE. */
  get size(): number {
    return this.#sums.length * HISTOGRAM_STRIDE;
  }

  /**
   * Histogram of rows[from, to) over all columns, written to `out` (Int32Array, `size`). `packed` as from
   * `packGradients`. Sums of whole numbers: the order and the blocks do not matter. Hot.
   */
  build(packed: Float64Array, rows: Uint32Array, from: number, to: number, out: Int32Array): void {
    const { bins } = this.#binned;
    const offsets = this.#offsets;
    const sums = this.#sums;
    const width = offsets.length - 1;
    out.fill(0);
    for (let start = from; start < to; start += this.#blockRows) {
      const end = Math.min(to, start + this.#blockRows);
      for (let i = start; i < end; i++) {
        const row = rows[i] as number;
        const p = packed[row] as number;
        const base = row * width;
        for (let f = 0; f < width; f++) {
          const at = (offsets[f] as number) + (bins[base + f] as number);
          sums[at] = (sums[at] as number) + p;
        }
      }
      for (let b = 0; b < sums.length; b++) {
        const sum = sums[b] as number;
        if (sum === 0) continue;
        addPacked(sum, out, b * HISTOGRAM_STRIDE);
        sums[b] = 0;
      }
    }
  }
}

/** Turns the parent's histogram into the sibling's: parent - child, in place. */
export function subtractHistogram(parent: Int32Array, child: Int32Array): void {
  for (let i = 0; i < parent.length; i++) parent[i] = (parent[i] as number) - (child[i] as number);
}
