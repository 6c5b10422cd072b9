import type { LoadedSchema } from '../features/index.ts';
import { type BinnedRows, type Binning, encodeRows, MISSING_BIN } from './binning.ts';
import type { LabelledTable } from './labelled-table.ts';

export interface ImputationInput {
  readonly table: Pick<LabelledTable, 'values' | 'columns'>;
  /** Training rows: nothing is fitted on others. */
  readonly rows: Uint32Array;
  readonly schema: LoadedSchema;
}

/**
 * The binning, with what a missing value of an imputed column counts as: the median of the training rows that have one,
 * of a category the most frequent one. The trees then never see it as missing, and hold in each split the side on
 * which the median lies: at the model's door NaN goes exactly where the median would, in training and live.
 */
export function fitImputation(binning: Binning, { table, rows, schema }: ImputationInput): Binning {
  const imputed = schema.schema.columns.map(
    ({ invalid, missing }) => invalid === 'impute' || missing === 'impute',
  );
  if (!imputed.includes(true)) return binning;
  const binned = encodeRows(binning, table.values, table.columns, rows);
  const columns = binning.columns.map((column, f) =>
    imputed[column.column] === true ? { ...column, fill: fillOf(binned, f) } : column,
  );
  return { ...binning, columns };
}

/** Of numbers the bin with the value at rank floor((n - 1) / 2): that of the median of `FittedStatistics`. */
function fillOf({ bins, rows, binning }: BinnedRows, f: number): number {
  const counts = new Uint32Array(256);
  for (const bin of bins.subarray(f * rows, (f + 1) * rows)) counts[bin]! += 1;
  counts[MISSING_BIN] = 0;
  if (binning.columns[f]?.categories !== undefined) return counts.indexOf(Math.max(...counts));
  const present = counts.reduce((sum, n) => sum + n, 0);
  let below = 0;
  let bin = MISSING_BIN;
  while (below <= Math.floor((present - 1) / 2)) below += counts[++bin] as number;
  return bin;
}
