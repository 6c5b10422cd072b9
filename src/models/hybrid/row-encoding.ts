import { ModelError } from '../errors.ts';

/** Encoded numbers lie within this many standard deviations of the mean of normal traffic. */
export const ENCODING_CLIP = 8;
/** Slot of a category that is not one of the listed ones. */
export const OTHER_SLOT = 0xffff;

/**
 * How a row becomes a point: a number z-scored on normal traffic and clipped, a category as one-hot over its frequent
 * values and one for all others. What is missing is 0 throughout: neither near to nor far from anything.
 */
export interface RowEncoding {
  /** Float32Array, one a column; of a category 0. */
  readonly means: Float32Array;
  /** Float32Array, one a column: 1 / standard deviation; of a category what a one-hot slot holds. */
  readonly scales: Float32Array;
  /** Uint16Array, the categories of each categorical column one behind the other: slot within the column, or OTHER_SLOT. */
  readonly slots: Uint16Array;
  /** Uint16Array, one a column: listed categories; of a number 0. */
  readonly slotCounts: Uint16Array;
}

/** Numbers of an encoded row. */
export function encodedWidth(encoding: RowEncoding, categories: readonly number[]): number {
  let width = 0;
  categories.forEach((size, c) => {
    width += size === 0 ? 1 : (encoding.slotCounts[c] as number) + 1;
  });
  return width;
}

/**
 * Encodes rows. Values: Float32Array, row-major from `firstRow`; out: Float32Array, rows x width, written from its
 * start. Hot: the caller checks lengths.
 */
export function encodePoints(
  encoding: RowEncoding,
  categories: readonly number[],
  values: Float32Array,
  firstRow: number,
  rows: number,
  out: Float32Array,
): void {
  const { means, scales, slots, slotCounts } = encoding;
  const columns = categories.length;
  let at = 0;
  for (let r = firstRow; r < firstRow + rows; r++) {
    let firstSlot = 0;
    for (let c = 0; c < columns; c++) {
      const x = values[r * columns + c] as number;
      const size = categories[c] as number;
      if (size === 0) {
        const z = (x - (means[c] as number)) * (scales[c] as number);
        out[at++] = z > ENCODING_CLIP ? ENCODING_CLIP : z >= -ENCODING_CLIP ? z : z < 0 ? -ENCODING_CLIP : 0;
        continue;
      }
      const listed = slotCounts[c] as number;
      out.fill(0, at, at + listed + 1);
      // A category beyond the list counts among the others; NaN fails both comparisons.
      if (x >= 0) {
        const slot = x < size ? (slots[firstSlot + Math.trunc(x)] as number) : OTHER_SLOT;
        out[at + (slot === OTHER_SLOT ? listed : slot)] = scales[c] as number;
      }
      at += listed + 1;
      firstSlot += size;
    }
  }
}

/** Refuses an encoding that does not fit the columns or could leave its output. Throws models.malformed. */
export function checkEncoding(encoding: RowEncoding, categories: readonly number[]): void {
  const { means, scales, slots, slotCounts } = encoding;
  const columns = categories.length;
  const listed = categories.reduce((sum, size) => sum + size, 0);
  for (const [name, length, expected] of [
    ['means', means.length, columns],
    ['scales', scales.length, columns],
    ['slotCounts', slotCounts.length, columns],
    ['slots', slots.length, listed],
  ] as const) {
    if (length !== expected) refuse(`${name} has ${length} entries, expected ${expected}`);
  }
  if (!means.every(Number.isFinite) || !scales.every((s) => Number.isFinite(s) && s > 0)) {
    refuse('a mean or scale is not a number that can be used');
  }
  let first = 0;
  categories.forEach((size, c) => {
    const count = slotCounts[c] as number;
    if (count > size) refuse(`column ${c} lists ${count} of ${size} categories`);
    for (let k = first; k < first + size; k++) {
      const slot = slots[k] as number;
      if (slot !== OTHER_SLOT && slot >= count) refuse(`column ${c} has the slot ${slot} of ${count}`);
    }
    first += size;
  });
}

function refuse(message: string): never {
  throw new ModelError('models.malformed', message);
}
