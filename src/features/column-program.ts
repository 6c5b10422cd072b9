import type { FeatureErrorCode } from './errors.ts';
import { log1pFloat32, SMALL_LOGS } from './log1p.ts';
import type { FeatureColumn } from './schema.ts';

/** What a program notes of a row that broke its schema: index into this list, plus 1. */
export const PROBLEMS = [
  'features.flow-malformed',
  'features.missing-value',
  'features.not-finite',
  'features.out-of-range',
  'features.unknown-category',
  'features.wrong-type',
] as const satisfies readonly FeatureErrorCode[];

const problemOf = (code: (typeof PROBLEMS)[number]) => PROBLEMS.indexOf(code) + 1;
const MISSING_VALUE = problemOf('features.missing-value');
const NOT_FINITE = problemOf('features.not-finite');
const OUT_OF_RANGE = problemOf('features.out-of-range');
const UNKNOWN_CATEGORY = problemOf('features.unknown-category');
const WRONG_TYPE = problemOf('features.wrong-type');

/** Problems of the rows of a block: the first one of each, in the order of the columns. */
export interface RowProblems {
  /** Uint8Array: 0 for a sound row, else index into `PROBLEMS` plus 1. */
  readonly codes: Uint8Array;
  /** Uint16Array: the column it was in. */
  readonly columns: Uint16Array;
}

/**
 * One column of a schema, compiled: reads a column of numbers, validates each by the column's policy, transforms it,
 * and writes it to its place in row-major vectors. The rules are those of `ColumnCodec`; what is in range costs one
 * comparison of each bound.
 */
export class ColumnProgram {
  readonly column: FeatureColumn;
  /** Values that were moved to the end of the range they passed. */
  clipped = 0;
  /** Values that were given, could not be used, and count as missing; those to impute among them. */
  madeMissing = 0;
  /** Rows in which the source reported nothing and the schema keeps that. */
  missing = 0;
  readonly #position: number;
  readonly #low: number;
  readonly #high: number;
  readonly #isLog: boolean;
  readonly #isWhole: boolean;

  constructor(column: FeatureColumn, position: number) {
    this.column = column;
    this.#position = position;
    const { categories, range, transform, type } = column;

    this.#low = type === 'number' ? (range?.[0] ?? Number.NEGATIVE_INFINITY) : 0;
    this.#high = type === 'number' ? (range?.[1] ?? Number.POSITIVE_INFINITY) : (categories?.length ?? 2) - 1;
    this.#isLog = transform === 'log1p';
    this.#isWhole = type !== 'number';
  }

  /**
   * Takes `rows` numbers of `cells` from `at`, NaN where there is none, to `out[to + position]` and on, `stride` apart.
   */
  write(
    cells: Float64Array,
    at: number,
    rows: number,
    out: Float32Array,
    to: number,
    stride: number,
    problems: RowProblems,
  ): void {
    const low = this.#low;
    const high = this.#high;
    const mayMiss = this.column.missing !== 'refuse';
    let o = to + this.#position;
    let missing = 0;
    if (this.#isLog) {
      for (let row = 0; row < rows; row++, o += stride) {
        let value = cells[at + row] as number;
        const whole = value | 0;
        // Most are small and whole; where the range begins above 0 they take the longer way.
        if (whole === value && whole >>> 0 < SMALL_LOGS.length && low <= 0 && value <= high) {
          out[o] = SMALL_LOGS[whole] as number;
          continue;
        }
        if (!(value >= low && value <= high)) {
          if (mayMiss && Number.isNaN(value)) {
            missing++;
            out[o] = value;
            continue;
          }
          value = this.#except(value, row, problems);
        }
        out[o] = log1pFloat32(value);
      }
    } else {
      for (let row = 0; row < rows; row++, o += stride) {
        const value = cells[at + row] as number;
        if (value >= low && value <= high) out[o] = value;
        else if (mayMiss && Number.isNaN(value)) {
          missing++;
          out[o] = value;
        } else out[o] = this.#except(value, row, problems);
      }
    }
    this.missing += missing;
  }

  /** For a source that never reports what the column needs: missing in each row. */
  writeAbsent(rows: number, out: Float32Array, to: number, stride: number): void {
    for (let row = 0, o = to + this.#position; row < rows; row++, o += stride) out[o] = Number.NaN;
    this.missing += rows;
  }

  /** The value to use for one that is missing or out of range, by the policy; NaN where the row has a problem. */
  #except(value: number, row: number, problems: RowProblems): number {
    const { invalid } = this.column;
    if (problems.codes[row] !== 0) return Number.NaN;
    if (Number.isNaN(value)) {
      this.#note(MISSING_VALUE, row, problems);
      return value;
    }
    if (invalid === 'clip' && Number.isFinite(value)) {
      this.clipped++;
      return value < this.#low ? this.#low : this.#high;
    }
    if (invalid === 'missing' || invalid === 'impute') {
      this.madeMissing++;
      return Number.NaN;
    }
    let problem = Number.isFinite(value) ? OUT_OF_RANGE : NOT_FINITE;
    if (this.#isWhole) problem = this.column.type === 'category' ? UNKNOWN_CATEGORY : WRONG_TYPE;
    this.#note(problem, row, problems);
    return Number.NaN;
  }

  #note(problem: number, row: number, problems: RowProblems): void {
    problems.codes[row] = problem;
    problems.columns[row] = this.#position;
  }
}
