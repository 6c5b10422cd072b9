import { ModelError } from './errors.ts';

/** Quantiles kept of each column and of the margin: 0, 1/32, ... 1. */
export const QUANTILES = 33;

/** What the training rows looked like, kept in the model so that drift tests can compare live rows with it. */
export interface FittedStatistics {
  readonly rows: number;
  /** Float32Array, columns x QUANTILES: of the values that were not missing; NaN-free, 0 where all were missing. */
  readonly quantiles: Float32Array;
  /** Float32Array, one a column: share of rows without a value. */
  readonly missing: Float32Array;
  /** Float32Array, the categories of each categorical column one behind the other: share of rows. */
  readonly frequencies: Float32Array;
  /** Float32Array, QUANTILES: of the detector's margin on held-out rows. */
  readonly margins: Float32Array;
}

/**
 * Statistics of a table. Values: Float32Array, row-major rows x columns; `categories` as in `checkEnsemble`;
 * `margins` are held-out detector margins. Sorts each column: O(columns rows log rows).
 */
export function fitStatistics(
  values: Float32Array,
  rows: number,
  categories: readonly number[],
  margins: ArrayLike<number>,
): FittedStatistics {
  const columns = categories.length;
  const quantiles = new Float32Array(columns * QUANTILES);
  const missing = new Float32Array(columns);
  const frequencies = new Float32Array(categories.reduce((sum, size) => sum + size, 0));
  const column = new Float32Array(rows);
  let offset = 0;
  for (let c = 0; c < columns; c++) {
    const size = categories[c] as number;
    let present = 0;
    for (let r = 0; r < rows; r++) {
      const x = values[r * columns + c] as number;
      if (Number.isNaN(x)) continue;
      column[present++] = x;
      if (x >= 0 && x < size) {
        const at = offset + Math.trunc(x);
        frequencies[at] = (frequencies[at] as number) + 1;
      }
    }
    offset += size;
    missing[c] = rows === 0 ? 0 : (rows - present) / rows;
    const sorted = column.subarray(0, present).sort();
    for (let q = 0; q < QUANTILES; q++)
      quantiles[c * QUANTILES + q] = quantileOf(sorted, q / (QUANTILES - 1));
  }
  for (let i = 0; i < frequencies.length; i++)
    frequencies[i] = (frequencies[i] as number) / Math.max(1, rows);
  const sortedMargins = Float32Array.from(margins).sort();
  const marginQuantiles = new Float32Array(QUANTILES);
  for (let q = 0; q < QUANTILES; q++) marginQuantiles[q] = quantileOf(sortedMargins, q / (QUANTILES - 1));
  return { rows, quantiles, missing, frequencies, margins: marginQuantiles };
}

/** The value at rank floor(q (n - 1)) of an ascending array; 0 of an empty one. */
export function quantileOf(sorted: Float32Array, q: number): number {
  return sorted.length === 0 ? 0 : (sorted[Math.floor(q * (sorted.length - 1))] as number);
}

/** Refuses statistics whose lengths do not fit the columns or that are not finite. Throws models.malformed. */
export function checkStatistics(statistics: FittedStatistics, categories: readonly number[]): void {
  const sizes = {
    quantiles: categories.length * QUANTILES,
    missing: categories.length,
    frequencies: categories.reduce((sum, size) => sum + size, 0),
    margins: QUANTILES,
  };
  for (const [name, size] of Object.entries(sizes)) {
    const array = statistics[name as keyof typeof sizes];
    if (array.length !== size) {
      throw new ModelError('models.malformed', `${name} has ${array.length} entries, expected ${size}`);
    }
    if (!array.every(Number.isFinite)) {
      throw new ModelError('models.malformed', `${name} holds a number that is not finite`);
    }
  }
}
