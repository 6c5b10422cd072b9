import type { Sample } from './crossover.ts';
import { type FeatureBackend, newReduction } from './feature-backend.ts';

/** The most by which results may differ, relative to the larger of 1 and the value. */
export const TOLERANCE = 1e-6;

/**
 * Compares two backends on one table. Gives the first difference in words, undefined where they agree: bins, counts and
 * maxima to the bit, normalised values and sums to `TOLERANCE`. A driver that computes wrongly is found here,
 * before anything rests on it.
 */
export async function findDisagreement(
  trusted: FeatureBackend,
  other: FeatureBackend,
  sample: Sample,
  segments = 1 + Math.max(0, ...sample.keys),
): Promise<string | undefined> {
  const { table, plan, bins, keys } = sample;
  const scaled = await both(trusted, other, async (backend) => {
    const out = new Float32Array(table.values.length);
    await backend.normalise(table, plan, out);
    return out;
  });
  for (const [i, expected] of scaled[0].entries()) {
    const got = scaled[1][i] as number;
    if (!isClose(got, expected, Math.abs(expected))) {
      return `normalise: value ${i}, ${table.values[i]}, gave ${got} instead of ${expected}`;
    }
  }
  for (const kind of [Uint8Array, Uint16Array]) {
    const binned = await both(trusted, other, async (backend) => {
      const out = new kind(table.rows * bins.length);
      await backend.bin(table, bins, out);
      return out;
    });
    for (const [i, expected] of binned[0].entries()) {
      const got = binned[1][i];
      if (got !== expected) return `bin: cell ${i} gave ${got} instead of ${expected}`;
    }
  }
  return compareReductions(trusted, other, { table, plan, bins, keys }, segments);
}

async function compareReductions(
  trusted: FeatureBackend,
  other: FeatureBackend,
  { table, keys }: Sample,
  segments: number,
): Promise<string | undefined> {
  const [expected, got] = await both(trusted, other, async (backend) => {
    const out = newReduction(segments, table.columns);
    await backend.reduce(table, keys, out);
    return out;
  });
  const magnitudes = newReduction(segments, table.columns);
  await trusted.reduce({ ...table, values: table.values.map(Math.abs) }, keys, magnitudes);
  for (const [i, sum] of expected.sums.entries()) {
    const place = `reduce: segment ${Math.floor(i / table.columns)}, column ${i % table.columns}`;
    if (got.counts[i] !== expected.counts[i])
      return `${place}: ${got.counts[i]} values instead of ${expected.counts[i]}`;
    const [largest, wanted] = [got.maxima[i] as number, expected.maxima[i] as number];
    if (largest !== wanted && !(Number.isNaN(largest) && Number.isNaN(wanted))) {
      return `${place}: largest ${largest} instead of ${wanted}`;
    }
    if (!isClose(got.sums[i] as number, sum, magnitudes.sums[i] as number)) {
      return `${place}: sum ${got.sums[i]} instead of ${sum}`;
    }
  }
  return undefined;
}

async function both<T>(
  a: FeatureBackend,
  b: FeatureBackend,
  work: (backend: FeatureBackend) => Promise<T>,
): Promise<[T, T]> {
  return [await work(a), await work(b)];
}

function isClose(got: number, expected: number, size: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(got);
  return Math.abs(got - expected) <= TOLERANCE * Math.max(1, size);
}
