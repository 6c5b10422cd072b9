import { FeatureError } from '../errors.ts';

/** Numbers as a model sees them: float32, row-major rows x columns, owned by the caller; NaN is missing. */
export interface FloatTable {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** How numbers are scaled for a network: z = clip((log1p? x - mean) / deviation). Fitted on training rows alone. */
export interface Normalisation {
  /** One a column: 1 where log1p comes first; at and below -1 it gives missing. */
  readonly log1p: Uint8Array;
  /** Float64, one a column, after log1p. */
  readonly mean: Float64Array;
  /** Float64, one a column, above 0. */
  readonly deviation: Float64Array;
  /** Results are kept within [-clip, clip]. */
  readonly clip: number;
}

/** How one column is cut into bins; bin 0 is missing, as in the trees' training. */
export interface BinColumn {
  /** Column of the table. */
  readonly column: number;
  /** Ascending: bin b holds values in (cuts[b-2], cuts[b-1]], the last is open. Empty for a category. */
  readonly cuts: Float32Array;
  /** Ascending: the category of bin b is categories[b-1], any other is missing. Absent for a number. */
  readonly categories?: Uint16Array;
}

/** Sums over the rows of each segment, a window of one host for example. All arrays are segments x columns. */
export interface Reduction {
  readonly segments: number;
  readonly sums: Float64Array;
  /** NaN where a segment has no value. */
  readonly maxima: Float32Array;
  /** Values that were there. */
  readonly counts: Uint32Array;
}

/** Which operation, for thresholds and counters. */
export const BACKEND_OPERATIONS = ['normalise', 'bin', 'reduce'] as const;
export type BackendOperation = (typeof BACKEND_OPERATIONS)[number];

/**
 * The wide operations on feature tables, on the CPU or on a device. A value that is not finite is missing. Outputs
 * are owned by the caller and must not be touched until the promise is settled. `bin`, counts and maxima are the
 * same everywhere to the bit; normalised values (deviations of 0.1 and more) and sums agree to 1e-6 of the larger of 1
 * and the value (sums: of the sum of magnitudes). Throws `features.backend-shape`; a device throws
 * `features.device-lost`, after which it is of no use.
 */
export interface FeatureBackend {
  readonly kind: 'cpu' | 'gpu';
  /** `out`: rows x columns, row-major; missing stays NaN. */
  normalise(table: FloatTable, plan: Normalisation, out: Float32Array): Promise<void>;
  /** `out`: rows x bin columns, row-major. A Uint8Array holds columns of at most 255 cuts or categories less one. */
  bin(table: FloatTable, columns: readonly BinColumn[], out: Uint8Array | Uint16Array): Promise<void>;
  /** `keys`: the segment of each row, below `out.segments`. What `out` held before is replaced. */
  reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void>;
  close(): void;
}

export function newReduction(segments: number, columns: number): Reduction {
  return {
    segments,
    sums: new Float64Array(segments * columns),
    maxima: new Float32Array(segments * columns),
    counts: new Uint32Array(segments * columns),
  };
}

export function checkNormalise(table: FloatTable, plan: Normalisation, out: Float32Array): void {
  checkTable(table);
  const { columns } = table;
  expect('log1p', plan.log1p.length, columns);
  expect('mean', plan.mean.length, columns);
  expect('deviation', plan.deviation.length, columns);
  expect('out', out.length, table.rows * columns);
  if (!(plan.clip > 0)) throw shape(`expected a clip above 0, got ${plan.clip}`);
  for (let c = 0; c < columns; c++) {
    const deviation = plan.deviation[c] as number;
    if (!(deviation > 0 && Number.isFinite(deviation) && Number.isFinite(plan.mean[c]))) {
      throw shape(`column ${c}: expected a finite mean and a deviation above 0`);
    }
  }
}

export function checkBin(
  table: FloatTable,
  columns: readonly BinColumn[],
  out: Uint8Array | Uint16Array,
): void {
  checkTable(table);
  expect('out', out.length, table.rows * columns.length);
  const most = out.BYTES_PER_ELEMENT === 1 ? 255 : 65_535;
  for (const { column, cuts, categories } of columns) {
    if (!(Number.isInteger(column) && column >= 0 && column < table.columns))
      throw shape(`there is no column ${column}`);
    const last = categories === undefined ? cuts.length + 1 : categories.length;
    if (last > most) throw shape(`column ${column}: ${last} bins do not fit, at most ${most}`);
    const edges = categories ?? cuts;
    // Written so that a NaN among the edges is refused, too.
    for (let i = 1; i < edges.length; i++) {
      if (!((edges[i - 1] as number) < (edges[i] as number)))
        throw shape(`column ${column}: edges must ascend`);
    }
    if (edges.length > 0 && !Number.isFinite(edges[0])) throw shape(`column ${column}: edges must be finite`);
  }
}

export function checkReduce(table: FloatTable, keys: Uint32Array, out: Reduction): void {
  checkTable(table);
  expect('keys', keys.length, table.rows);
  for (const name of ['sums', 'maxima', 'counts'] as const) {
    expect(name, out[name].length, out.segments * table.columns);
  }
  for (const key of keys) if (key >= out.segments) throw shape(`expected keys below ${out.segments}`);
}

function checkTable({ values, rows, columns }: FloatTable): void {
  expect('values', values.length, rows * columns);
}

function expect(name: string, got: number, wanted: number): void {
  if (got !== wanted) throw shape(`${name} has ${got} entries, expected ${wanted}`);
}

function shape(message: string): FeatureError {
  return new FeatureError('features.backend-shape', message);
}
