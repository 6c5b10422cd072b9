import type { RowEncoding } from '../../models/index.ts';
import { OTHER_SLOT } from '../../models/index.ts';
import type { LabelledTable } from '../labelled-table.ts';

/** Standard deviations below this count as this: a number that never changes must not decide by its last digits. */
const DEVIATION_FLOOR = 0.02;
/** Most frequent categories with a slot of their own, where a column has more than twice as many. */
const LISTED_CATEGORIES = 10;

export interface EncodingOptions {
  /** What a one-hot slot holds: two categories lie sqrt(2) times this apart. */
  readonly categoryScale: number;
}

/** Fits the encoding to these rows (normal traffic): means and deviations of what is there, frequencies of categories. */
export function fitEncoding(
  table: LabelledTable,
  rows: Uint32Array,
  categories: readonly number[],
  { categoryScale }: EncodingOptions,
): RowEncoding {
  const columns = categories.length;
  const means = new Float32Array(columns);
  const scales = new Float32Array(columns).fill(categoryScale);
  const slotCounts = new Uint16Array(columns);
  const slots = new Uint16Array(categories.reduce((sum, size) => sum + size, 0)).fill(OTHER_SLOT);
  let first = 0;
  for (let c = 0; c < columns; c++) {
    const size = categories[c] as number;
    const at = (r: number): number => table.values[r * columns + c] as number;
    if (size === 0) {
      let [count, sum, squares] = [0, 0, 0];
      for (const r of rows) {
        const x = at(r);
        if (Number.isNaN(x)) continue;
        count++;
        sum += x;
      }
      const mean = count === 0 ? 0 : sum / count;
      for (const r of rows) if (!Number.isNaN(at(r))) squares += (at(r) - mean) ** 2;
      means[c] = mean;
      scales[c] = 1 / Math.max(DEVIATION_FLOOR, Math.sqrt(squares / Math.max(1, count)));
      continue;
    }
    const counts = new Uint32Array(size);
    for (const r of rows) if (at(r) >= 0 && at(r) < size) counts[Math.trunc(at(r))]! += 1;
    const byCount = [...counts.keys()]
      .filter((k) => (counts[k] as number) > 0)
      .sort((a, b) => (counts[b] as number) - (counts[a] as number) || a - b);
    if (byCount.length > 2 * LISTED_CATEGORIES) byCount.length = LISTED_CATEGORIES;
    byCount
      .sort((a, b) => a - b)
      .forEach((k, slot) => {
        slots[first + k] = slot;
      });
    slotCounts[c] = byCount.length;
    first += size;
  }
  return { means, scales, slots, slotCounts };
}
