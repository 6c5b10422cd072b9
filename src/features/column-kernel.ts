import { instantiateKernel, loadKernel, newKernelMemory } from '../base/index.ts';
import { ColumnCodec } from './column-codec.ts';
import type { FeatureErrorCode } from './errors.ts';
import type { FeatureColumn } from './schema.ts';

/** Rows that go through all columns before the next ones do: their vectors stay in the cache meanwhile. */
export const BLOCK = 64;

const PAGE = 65_536;
/** As in kernels/columns.ts: doubles of a program, and its flags. */
const PROGRAM = { bytes: 40, low: 0, high: 1, missing: 2, clipped: 3, cells: 8, flags: 9 } as const;
const FLAGS = { log: 1, clip: 2, mayMiss: 4, bit: 8 } as const;
/** Whole numbers whose log1p lies in a table. */
const SMALL = 2048;

interface ColumnFunctions {
  set_tables(small: number, count: number, scales: number, parts: number): void;
  write_columns(
    programs: number,
    count: number,
    rows: number,
    out: number,
    stride: number,
    exceptions: number,
  ): number;
}

/** Takes a value that broke its schema: which row of the block, why, and in which column. */
export type OnProblem = (row: number, code: FeatureErrorCode, column: number) => void;

/**
 * The columns of a schema, compiled: takes numbers as columns, validates each by its column's policy, transforms it, and
 * writes row-major vectors, a block of rows at a time. Its rules are those of `ColumnCodec`, to the bit; a category is
 * given by its index, a flag as 0 or 1. All storage is made at construction.
 */
export class ColumnKernel {
  /** Float64Array, cells x BLOCK: where the caller puts numbers, NaN where there is none. */
  readonly cells: Float64Array;
  /** Float32Array, BLOCK x columns, row-major: what the last `write` gave. */
  readonly out: Float32Array;
  /** Values that could not be used and count as missing, by column; those that a model imputes among them. */
  readonly madeMissing: Float64Array;
  readonly #columns: readonly FeatureColumn[];
  readonly #codecs: readonly ColumnCodec[];
  readonly #doubles: Float64Array;
  readonly #words: Uint32Array;
  readonly #cellOf: Int32Array;
  readonly #at: { readonly programs: number; readonly out: number; readonly exceptions: number };
  readonly #functions: ColumnFunctions;

  /**
   * `cellOf`: for each column the column of cells it is read from, of `cells` in all; several may share one. `bits`: for
   * each the bit (below 2^16) that is wanted of the number in its cell, 0 for the number itself.
   */
  constructor(
    columns: readonly FeatureColumn[],
    cellOf: readonly number[],
    cells: number,
    bits: readonly number[],
  ) {
    const width = columns.length;
    let end = 1024;
    const room = (bytes: number) => {
      const at = end;
      end += Math.ceil(bytes / 64) * 64;
      return at;
    };
    const small = room(SMALL * 4);
    const scales = room(2048 * 16);
    const parts = room(128 * 16);
    const programs = room(width * PROGRAM.bytes);
    const cellsAt = room(cells * BLOCK * 8);
    const out = room(width * BLOCK * 4);
    const exceptions = room(width * BLOCK * 4);
    const pages = Math.ceil(end / PAGE);
    const memory = newKernelMemory({ initialPages: pages, maximumPages: pages });
    this.#columns = columns;
    this.#codecs = columns.map((column) => new ColumnCodec(column));
    this.#cellOf = Int32Array.from(cellOf);
    this.#at = { programs, out, exceptions };
    this.#doubles = new Float64Array(memory.buffer, 0, (pages * PAGE) / 8);
    this.#words = new Uint32Array(memory.buffer);
    this.cells = new Float64Array(memory.buffer, cellsAt, cells * BLOCK);
    this.out = new Float32Array(memory.buffer, out, width * BLOCK);
    this.madeMissing = new Float64Array(width);
    writeTables(new Float32Array(memory.buffer, small, SMALL), this.#doubles, scales / 8, parts / 8);
    columns.forEach((column, c) => {
      const at = programs + c * PROGRAM.bytes;
      this.#writeProgram(column, at, cellsAt + (cellOf[c] as number) * BLOCK * 8);
      const bit = bits[c] as number;
      if (bit !== 0) {
        const word = at / 4 + PROGRAM.flags;
        this.#words[word] = (this.#words[word] as number) | FLAGS.bit | (bit << 16);
      }
    });
    this.#functions = instantiateKernel<ColumnFunctions>(loadKernel('columns'), memory);
    this.#functions.set_tables(small, SMALL, scales, parts);
  }

  /** Values of a column that the source did not report, and the schema keeps as missing. */
  missing(column: number): number {
    return this.#counter(column, PROGRAM.missing);
  }

  /** Values of a column that were moved to the end of the range they passed. */
  clipped(column: number): number {
    return this.#counter(column, PROGRAM.clipped);
  }

  /** Writes the first `rows` of the block from `cells` to `out`. Values with a problem are NaN and told of, in order of column. */
  write(rows: number, onProblem: OnProblem): void {
    const width = this.#columns.length;
    const { programs, out, exceptions } = this.#at;
    const count = this.#functions.write_columns(programs, width, rows, out, width * 4, exceptions);
    for (let i = 0; i < count; i++) {
      const exception = this.#words[exceptions / 4 + i] as number;
      this.#settle(exception >>> 16, exception & 0xffff, onProblem);
    }
  }

  #settle(row: number, column: number, onProblem: OnProblem): void {
    const codec = this.#codecs[column] as ColumnCodec;
    const given = this.cells[(this.#cellOf[column] as number) * BLOCK + row] as number;
    const value = Number.isNaN(given) ? codec.fromNothing() : codec.fromDerived(given);
    this.out[row * this.#columns.length + column] = value;
    if (codec.problem !== undefined) onProblem(row, codec.problem, column);
    else if (Number.isNaN(value)) this.madeMissing[column] = (this.madeMissing[column] as number) + 1;
  }

  #counter(column: number, field: number): number {
    return this.#doubles[(this.#at.programs + column * PROGRAM.bytes) / 8 + field] as number;
  }

  #writeProgram(column: FeatureColumn, at: number, cells: number): void {
    const { type, range, categories, invalid, missing, transform } = column;
    const isNumber = type === 'number';
    const d = at / 8;
    this.#doubles[d + PROGRAM.low] = isNumber ? (range?.[0] ?? Number.NEGATIVE_INFINITY) : 0;
    this.#doubles[d + PROGRAM.high] = isNumber
      ? (range?.[1] ?? Number.POSITIVE_INFINITY)
      : (categories?.length ?? 2) - 1;
    this.#words[at / 4 + PROGRAM.cells] = cells;
    this.#words[at / 4 + PROGRAM.flags] =
      (transform === 'log1p' ? FLAGS.log : 0) |
      (invalid === 'clip' ? FLAGS.clip : 0) |
      (missing === 'refuse' ? 0 : FLAGS.mayMiss);
  }
}

/** log1p of small whole numbers; 2^-e and e ln 2; 1/c and ln c, the first of them 1 so that nothing cancels there. */
function writeTables(small: Float32Array, doubles: Float64Array, scales: number, parts: number): void {
  for (let x = 0; x < small.length; x++) small[x] = Math.log1p(x);
  for (let e = 1; e < 2046; e++) {
    doubles[scales + 2 * e] = 2 ** (1023 - e);
    doubles[scales + 2 * e + 1] = (e - 1023) * Math.LN2;
  }
  for (let i = 0; i < 128; i++) {
    const inverse = i === 0 ? 1 : 1 / (1 + (i + 0.5) / 128);
    doubles[parts + 2 * i] = inverse;
    doubles[parts + 2 * i + 1] = -Math.log(inverse);
  }
}
