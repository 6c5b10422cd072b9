import { type FittedStatistics, type ModelColumn, QUANTILES } from '../../models/index.ts';

const GOLDEN = 0.618033988749895;

/**
 * Rows like those a model was trained on, from what it keeps of them: each column drawn from its quantiles, missing as often as it
 * was; a low-discrepancy sequence in place of random numbers. Float32Array, row-major.
 */
export function calibrationRows(
  columns: readonly ModelColumn[],
  { quantiles, missing }: FittedStatistics,
  rows: number,
): Float32Array {
  const values = new Float32Array(rows * columns.length);
  for (let i = 0; i < values.length; i++) {
    const c = i % columns.length;
    const share = (i * GOLDEN + c * 0.37) % 1;
    const isMissing = (i * 0.7548776662466927) % 1 < (missing[c] as number);
    const at = share * (QUANTILES - 1);
    const low = quantiles[c * QUANTILES + Math.floor(at)] as number;
    const high = quantiles[c * QUANTILES + Math.min(QUANTILES - 1, Math.floor(at) + 1)] as number;
    const isCategory = (columns[c] as ModelColumn).categories > 0;
    values[i] = isMissing ? Number.NaN : isCategory ? low : low + (at % 1) * (high - low);
  }
  return values;
}
