import { cutsOf, orderedKey, summarize } from './column-summary.ts';

/** Bin of a missing value, in every column. */
export const MISSING_BIN = 0;

/** How one column is cut into bins. Bin 0 holds what is missing; values begin at bin 1. */
export interface ColumnBins {
  /** Column of the table. */
  readonly column: number;
  /** Bins in all, 2 to 256. */
  readonly bins: number;
  /** Number: Float32Array, ascending; bin b holds values in (cuts[b-2], cuts[b-1]], the last is open. Else empty. */
  readonly cuts: Float32Array;
  /** Category: the category of bin b is categories[b-1]. Number: absent. */
  readonly categories?: Uint16Array;
  /** Bin that what is missing counts as, where the schema has it imputed; else it has a bin of its own, 0. */
  readonly fill?: number;
}

/** The columns that can split anything, cut into bins. What is fitted here comes from training rows alone. */
export interface Binning {
  readonly columns: readonly ColumnBins[];
  /** Uint32Array, columns + 1: where each column's bins begin in a histogram; widths are rounded up to a multiple of 4. */
  readonly offsets: Uint32Array;
}

/** Binned rows. */
export interface BinnedRows {
  readonly rows: number;
  readonly binning: Binning;
  /** Uint8Array, column-major: binning.columns x rows. */
  readonly bins: Uint8Array;
}

/** Binned rows with what they should be predicted as. */
export interface LabelledBins {
  readonly binned: BinnedRows;
  /** 0 or 1, or the class. */
  readonly labels: Uint8Array;
  readonly weights?: Float32Array | undefined;
}

/**
 * Fits the bins on these rows. A number with few distinct values gets one bin for each, cut half way between; one with
 * many gets bins of about equal weight, a frequent value its own. A category gets a bin of its own; beyond the limit
 * the rarest count as missing. Columns of one bin are left out. O(columns rows log rows).
 */
export function fitBinning(
  values: Float32Array,
  stride: number,
  rows: Uint32Array,
  categories: readonly number[],
  maxBins: number,
): Binning {
  const columns: ColumnBins[] = [];
  const present = new Float32Array(rows.length);
  const keys = new Uint32Array(rows.length);
  for (let column = 0; column < stride; column++) {
    let count = 0;
    for (const r of rows) {
      const x = values[r * stride + column] as number;
      if (Number.isNaN(x)) continue;
      present[count] = x;
      keys[count++] = orderedKey(x);
    }
    const size = categories[column] as number;
    const fitted: Pick<ColumnBins, 'cuts' | 'categories'> =
      size === 0
        ? { cuts: cutsOf(summarize(keys, count), maxBins - 1) }
        : listCategories(present.subarray(0, count), size, maxBins - 1);
    const valueBins = fitted.categories?.length ?? fitted.cuts.length + 1;
    // One bin of values splits only where it can be told from missing.
    if (count === 0 || (valueBins === 1 && count === rows.length)) continue;
    columns.push({ column, bins: valueBins + 1, ...fitted });
  }
  return layOut(columns);
}

/** Columns with the places of their bins. */
export function layOut(columns: readonly ColumnBins[]): Binning {
  const offsets = new Uint32Array(columns.length + 1);
  columns.forEach(({ bins }, f) => {
    offsets[f + 1] = (offsets[f] as number) + ((bins + 3) & ~3);
  });
  return { columns, offsets };
}

/** Encodes rows of a table. A category never seen in training counts as missing. */
export function encodeRows(
  binning: Binning,
  values: Float32Array,
  stride: number,
  rows: Uint32Array,
): BinnedRows {
  const width = binning.columns.length;
  const bins = new Uint8Array(rows.length * width);
  const tables = binning.columns.map(searchTable);
  // Tiles of rows: a row-major table is read once, not once a column.
  for (let from = 0; from < rows.length; from += TILE_ROWS) {
    const tile = rows.subarray(from, from + TILE_ROWS);
    binning.columns.forEach(({ column, categories, fill = MISSING_BIN }, f) => {
      const out = bins.subarray(f * rows.length + from, f * rows.length + from + tile.length);
      const table = tables[f] as Float32Array;
      if (categories === undefined) encodeNumbers(values, stride, column, tile, { table, fill }, out);
      else encodeCategories(values, stride, column, tile, { table, fill }, out);
    });
  }
  return { rows: rows.length, binning, bins };
}

const TILE_ROWS = 512;

interface ColumnTable {
  readonly table: Float32Array;
  /** Bin of a missing value. */
  readonly fill: number;
}

/** Number: 256 cuts, filled up with infinity. Category: its bin, one a category. */
function searchTable({ cuts, categories }: ColumnBins): Float32Array {
  const table = new Float32Array(256);
  if (categories === undefined) {
    table.fill(Number.POSITIVE_INFINITY);
    table.set(cuts);
  } else {
    categories.forEach((category, i) => {
      table[category] = i + 1;
    });
  }
  return table;
}

function encodeNumbers(
  values: Float32Array,
  stride: number,
  column: number,
  rows: Uint32Array,
  { table: cuts, fill }: ColumnTable,
  out: Uint8Array,
): void {
  for (let i = 0; i < rows.length; i++) {
    const x = values[(rows[i] as number) * stride + column] as number;
    // How many cuts lie below x, by halves.
    let below = 0;
    for (let step = 128; step > 0; step >>= 1) {
      if ((cuts[below + step - 1] as number) < x) below += step;
    }
    out[i] = Number.isNaN(x) ? fill : below + 1;
  }
}

function encodeCategories(
  values: Float32Array,
  stride: number,
  column: number,
  rows: Uint32Array,
  { table: bins, fill }: ColumnTable,
  out: Uint8Array,
): void {
  for (let i = 0; i < rows.length; i++) {
    const x = values[(rows[i] as number) * stride + column] as number;
    const bin = x >= 0 && x < 256 ? (bins[Math.trunc(x)] as number) : MISSING_BIN;
    out[i] = bin === MISSING_BIN ? fill : bin;
  }
}

/** Compact copy of some rows of binned rows. */
export function selectBinnedRows(binned: BinnedRows, rows: ArrayLike<number>): BinnedRows {
  const width = binned.binning.columns.length;
  const bins = new Uint8Array(rows.length * width);
  for (let f = 0; f < width; f++) {
    const [from, to] = [f * binned.rows, f * rows.length];
    for (let i = 0; i < rows.length; i++) bins[to + i] = binned.bins[from + (rows[i] as number)] as number;
  }
  return { rows: rows.length, binning: binned.binning, bins };
}

function listCategories(
  values: Float32Array,
  size: number,
  maxBins: number,
): Pick<ColumnBins, 'cuts' | 'categories'> {
  const counts = new Uint32Array(size);
  for (const x of values) {
    if (x >= 0 && x < size) counts[Math.trunc(x)]! += 1;
  }
  const seen = [...counts.keys()].filter((category) => (counts[category] as number) > 0);
  if (seen.length > maxBins) {
    seen.sort((a, b) => (counts[b] as number) - (counts[a] as number) || a - b);
    seen.length = maxBins;
    seen.sort((a, b) => a - b);
  }
  return { cuts: new Float32Array(0), categories: Uint16Array.from(seen) };
}
