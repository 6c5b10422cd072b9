import type { SeededRandom } from '../../base/index.ts';

/** Least and largest chance that a block of an exposed row is replaced. */
const CHANCES = [0.1, 0.9] as const;

/**
 * Rows that look like no traffic, for outlier exposure (Hendrycks et al., 2019): each is a normal row in which every
 * block of columns is, with a chance drawn once for the row, another normal row's. What each block holds is common;
 * that they stand together is not. Values: Float32Array, row-major, `stride` columns; rows: normal ones.
 * Gives Float32Array, count x stride.
 */
export function replaceBlocks(
  values: Float32Array,
  stride: number,
  rows: Uint32Array,
  blocks: readonly (readonly number[])[],
  count: number,
  random: SeededRandom,
): Float32Array {
  const out = new Float32Array(count * stride);
  const pick = (): number => rows[random.integer(0, rows.length - 1)] as number;
  for (let i = 0; i < count; i++) {
    const origin = pick();
    out.set(values.subarray(origin * stride, (origin + 1) * stride), i * stride);
    const chance = random.uniform(...CHANCES);
    for (const block of blocks) {
      if (!random.chance(chance)) continue;
      const other = pick() * stride;
      for (const c of block) out[i * stride + c] = values[other + c] as number;
    }
  }
  return out;
}
