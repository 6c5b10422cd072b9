import type { FeatureErrorCode } from './errors.ts';
import type { FeatureColumn } from './schema.ts';
import { isNumberTransform, type TextTransform } from './schema-limits.ts';
import { deriveFromText } from './text-transforms.ts';

const DECIMAL = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;

/**
 * Turns one value into the float of one column, by the rules of its schema. After each call `problem` tells
 * why the value was refused, or is undefined; with a problem the result is NaN.
 */
export class ColumnCodec {
  readonly column: FeatureColumn;
  problem: FeatureErrorCode | undefined;
  readonly #indices: ReadonlyMap<string, number> | undefined;
  readonly #low: number;
  readonly #high: number;

  constructor(column: FeatureColumn) {
    this.column = column;
    this.problem = undefined;
    this.#indices =
      column.categories && new Map(column.categories.map((category, index) => [category, index]));
    this.#low = column.range?.[0] ?? Number.NEGATIVE_INFINITY;
    this.#high = column.range?.[1] ?? Number.POSITIVE_INFINITY;
  }

  /** No value at all: NaN where the schema keeps or imputes missing values, else the problem missing-value. */
  fromNothing(): number {
    this.problem = this.column.missing === 'refuse' ? 'features.missing-value' : undefined;
    return Number.NaN;
  }

  /** The text of a table's cell. Numbers are decimal, with or without exponent: no spaces, no 0x, no inf. */
  fromText(text: string): number {
    const { column } = this;
    if (!isNumberTransform(column.transform)) return this.fromNumber(deriveFromText(text, column.transform));
    if (column.type === 'category') return this.fromCategory(text);
    if (column.type === 'boolean') {
      if (text === '0' || text === 'false') return this.#accept(0);
      if (text === '1' || text === 'true') return this.#accept(1);
      return this.#refuse('features.wrong-type');
    }
    if (!DECIMAL.test(text)) return this.#refuse('features.not-finite');
    return this.fromNumber(Number(text));
  }

  fromCategory(category: string): number {
    const index = this.#indices?.get(category);
    return index === undefined ? this.#refuse('features.unknown-category') : this.#accept(index);
  }

  /** A number before its transform; for a column with a text transform the derived number. */
  fromNumber(value: number): number {
    if (!Number.isFinite(value)) return this.#refuse('features.not-finite');
    let raw = value;
    if (raw < this.#low || raw > this.#high) {
      if (this.column.invalid !== 'clip') return this.#refuse('features.out-of-range');
      raw = raw < this.#low ? this.#low : this.#high;
    }
    return this.#accept(this.column.transform === 'log1p' ? Math.log1p(raw) : raw);
  }

  /** What an extractor derived: a number before its transform, the index of a category, 0 or 1 for a flag. */
  fromDerived(value: number): number {
    if (this.column.type === 'number') return this.fromNumber(value);
    const isCategory = this.column.type === 'category';
    const top = isCategory ? (this.#indices?.size ?? 0) - 1 : 1;
    if (Number.isInteger(value) && value >= 0 && value <= top) return this.#accept(value);
    return this.#refuse(isCategory ? 'features.unknown-category' : 'features.wrong-type');
  }

  #accept(value: number): number {
    this.problem = undefined;
    return value;
  }

  /** A refused value is a problem, except where the schema turns invalid values into missing ones. */
  #refuse(problem: FeatureErrorCode): number {
    const { invalid } = this.column;
    this.problem = invalid === 'missing' || invalid === 'impute' ? undefined : problem;
    return Number.NaN;
  }
}

/** What a stored float means, for people: a category's name, a flag, or the number before log1p. */
export function readValue(column: FeatureColumn, value: number): string | number | boolean | undefined {
  if (Number.isNaN(value)) return undefined;
  if (column.type === 'category') return column.categories?.[value];
  if (column.type === 'boolean') return value !== 0;
  return column.transform === 'log1p' ? Math.expm1(value) : value;
}

/** Whether a column is computed from a text. */
export function isTextTransform(transform: FeatureColumn['transform']): transform is TextTransform {
  return !isNumberTransform(transform);
}
