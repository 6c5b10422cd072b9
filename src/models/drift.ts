import { ModelError } from './errors.ts';
import { chiSquareTail } from './special-functions.ts';

/** Bins of a number or of the score at most, besides the one for missing values. */
export const DRIFT_BINS = 10;

/** How one column, or the score, was distributed in the calibration data. */
export interface DriftColumn {
  readonly name: string;
  /** Numbers: ascending upper edges, `x <= edge`; one bin more than edges. Categories: absent, a bin each and one for others. */
  readonly edges?: readonly number[];
  /** Rows a bin; the last one holds missing values. */
  readonly counts: readonly number[];
}

/** What live rows are compared with: the rows a certificate rests on. The score stands last. */
export interface DriftReference {
  readonly rows: number;
  readonly columns: readonly DriftColumn[];
}

export interface DriftOptions {
  /** Live rows before anything is said. */
  readonly minRows: number;
  /** Share of false alarms among columns called shifted, at most (Benjamini and Hochberg 1995). */
  readonly falseDiscoveryRate: number;
  /** Population stability index below which a shift does not matter, however certain it is. */
  readonly minPsi: number;
}

export const DRIFT_DEFAULTS: DriftOptions = { minRows: 500, falseDiscoveryRate: 0.01, minPsi: 0.1 };

/** A column that differs from the calibration data. */
export interface ShiftedColumn {
  readonly name: string;
  /** Population stability index: sum of (p - q) ln(p / q) over the bins. */
  readonly psi: number;
  readonly pValue: number;
}

export interface DriftVerdict {
  readonly verdict: 'too-few' | 'same' | 'shifted';
  /** Live rows looked at. */
  readonly rows: number;
  /** Strongest first. */
  readonly shifted: readonly ShiftedColumn[];
}

/**
 * Bins the rows of a calibration set. `values`: Float32Array, row-major rows x columns, NaN is missing; `scores`: one a
 * row. Edges are quantiles, so that every bin of the reference has rows. O(columns rows log rows).
 */
export function fitDriftReference(
  values: Float32Array,
  scores: ArrayLike<number>,
  columns: readonly { readonly name: string; readonly categories: number }[],
): DriftReference {
  const rows = scores.length;
  if (values.length !== rows * columns.length || rows === 0) {
    throw new ModelError('models.argument-invalid', 'expected at least one row, and a score for each');
  }
  const fitted = columns.map(({ name, categories }, c) => {
    const column = Float32Array.from({ length: rows }, (_, r) => values[r * columns.length + c] as number);
    return fitColumn(name, column, categories);
  });
  return { rows, columns: [...fitted, fitColumn('score', Float32Array.from(scores), 0)] };
}

function fitColumn(name: string, values: Float32Array, categories: number): DriftColumn {
  const edges = categories === 0 ? quantileEdges(values) : undefined;
  const counts = new Array<number>(edges === undefined ? categories + 2 : edges.length + 2).fill(0);
  for (const value of values) counts[binOf(value, edges, counts.length)]! += 1;
  return { name, ...(edges !== undefined && { edges }), counts };
}

/** Upper edges of bins with about equally many rows; a value that many rows share has a bin of its own. */
function quantileEdges(values: Float32Array): number[] {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const edges = new Set<number>();
  for (let q = 1; q < DRIFT_BINS && sorted.length > 0; q++) {
    edges.add(sorted[Math.floor((q * (sorted.length - 1)) / DRIFT_BINS)] as number);
  }
  return [...edges].filter((edge) => edge < (sorted.at(-1) as number));
}

/** Bin of a value: the last one is for missing values, the one before it for what lies beyond. */
function binOf(value: number, edges: readonly number[] | undefined, bins: number): number {
  if (Number.isNaN(value)) return bins - 1;
  if (edges === undefined) return value >= 0 && value < bins - 2 ? Math.trunc(value) : bins - 2;
  let bin = 0;
  while (bin < edges.length && value > (edges[bin] as number)) bin++;
  return bin;
}

/** Of a column of numbers; unrolled below. */
const EDGES = 9;

/** Counts live rows in the bins of a reference, and says whether they look like it. Memory: one count a bin. */
export class DriftWindow {
  readonly #reference: DriftReference;
  readonly #counts: readonly Float64Array[];
  /** Float64Array, columns x EDGES, filled up with infinity; of columns that have as many edges or fewer. */
  readonly #edges: Float64Array;
  /** One a column: whether its edges are among those. */
  readonly #isFlat: Uint8Array;
  #rows = 0;

  constructor(reference: DriftReference) {
    const { columns } = reference;
    this.#reference = reference;
    this.#counts = columns.map(({ counts }) => new Float64Array(counts.length));
    this.#edges = new Float64Array(columns.length * EDGES).fill(Number.POSITIVE_INFINITY);
    this.#isFlat = Uint8Array.from(columns, ({ edges }) =>
      Number(edges !== undefined && edges.length <= EDGES),
    );
    for (const [c, { edges }] of columns.entries()) {
      if (this.#isFlat[c] === 1) this.#edges.set(edges ?? [], c * EDGES);
    }
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds one row (Float32Array, one value a column of the reference but the last) and its score. */
  add(row: Float32Array, score: number): void {
    const { columns } = this.#reference;
    const last = columns.length - 1;
    for (let c = 0; c <= last; c++) {
      const counts = this.#counts[c] as Float64Array;
      const value = c === last ? score : (row[c] as number);
      const bin =
        this.#isFlat[c] === 1 && !Number.isNaN(value)
          ? this.#binBelow(value, c * EDGES)
          : binOf(value, (columns[c] as DriftColumn).edges, counts.length);
      counts[bin]! += 1;
    }
    this.#rows++;
  }

  /** How many edges lie below. A search would guess wrong at every column, which costs more than nine comparisons. */
  #binBelow(value: number, at: number): number {
    const e = this.#edges;
    return (
      (Number(value > (e[at] as number)) | 0) +
      (Number(value > (e[at + 1] as number)) | 0) +
      (Number(value > (e[at + 2] as number)) | 0) +
      (Number(value > (e[at + 3] as number)) | 0) +
      (Number(value > (e[at + 4] as number)) | 0) +
      (Number(value > (e[at + 5] as number)) | 0) +
      (Number(value > (e[at + 6] as number)) | 0) +
      (Number(value > (e[at + 7] as number)) | 0) +
      (Number(value > (e[at + 8] as number)) | 0)
    );
  }

  clear(): void {
    for (const counts of this.#counts) counts.fill(0);
    this.#rows = 0;
  }

  /**
   * Compares what was added with the reference. A column counts as shifted where its index is beyond chance,
   * (1/n + 1/m) chi-square with one degree less than bins, by false discovery control over all columns, and large
   * enough to matter. A fixed index alone would call small windows shifted that are not.
   */
  test(options: Partial<DriftOptions> = {}): DriftVerdict {
    const { minRows, falseDiscoveryRate, minPsi } = { ...DRIFT_DEFAULTS, ...options };
    const rows = this.#rows;
    if (rows < minRows) return { verdict: 'too-few', rows, shifted: [] };
    const found = this.#reference.columns.map((column, c) =>
      this.#compare(column, this.#counts[c] as Float64Array),
    );
    const byChance = found.map(({ pValue }) => pValue).sort((a, b) => a - b);
    let limit = -1;
    for (const [i, p] of byChance.entries()) {
      if (p <= (falseDiscoveryRate * (i + 1)) / byChance.length) limit = p;
    }
    const shifted = found
      .filter(({ pValue, psi }) => pValue <= limit && psi >= minPsi)
      .sort((a, b) => b.psi - a.psi);
    return { verdict: shifted.length === 0 ? 'same' : 'shifted', rows, shifted };
  }

  /** Half a row is added to each bin that either side has, so that an empty one has a logarithm. */
  #compare({ name, counts }: DriftColumn, live: Float64Array): ShiftedColumn {
    const used = counts.map((_, b) => b).filter((b) => (counts[b] as number) + (live[b] as number) > 0);
    if (used.length < 2) return { name, psi: 0, pValue: 1 };
    const n = this.#rows + used.length / 2;
    const m = this.#reference.rows + used.length / 2;
    let psi = 0;
    for (const b of used) {
      const p = ((live[b] as number) + 0.5) / n;
      const q = ((counts[b] as number) + 0.5) / m;
      psi += (p - q) * Math.log(p / q);
    }
    return { name, psi, pValue: chiSquareTail(psi / (1 / n + 1 / m), used.length - 1) };
  }
}
