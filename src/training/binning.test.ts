import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeRows, fitBinning, MISSING_BIN } from './binning.ts';

function binsOf(values: readonly number[], categories = 0, maxBins = 256) {
  const table = Float32Array.from(values);
  const rows = Uint32Array.from(values.keys());
  const binning = fitBinning(table, 1, rows, [categories], maxBins);
  return { binning, bins: [...encodeRows(binning, table, 1, rows).bins] };
}

test('few distinct numbers get a bin each, cut half way, and missing has its own', () => {
  const { binning, bins } = binsOf([3, 1, Number.NaN, 1, 2]);
  assert.deepEqual(bins, [3, 1, MISSING_BIN, 1, 2]);
  assert.deepEqual([...(binning.columns[0]?.cuts ?? [])], [1.5, 2.5]);
});

test('neighbouring float32 numbers are still told apart', () => {
  const a = Math.fround(0.1);
  const b = new Float32Array(
    Uint32Array.of((new Uint32Array(Float32Array.of(a).buffer)[0] as number) + 1).buffer,
  )[0];
  assert.deepEqual(binsOf([a, b as number]).bins, [1, 2]);
  assert.deepEqual(binsOf([-3e38, 3e38]).bins, [1, 2]);
});

test('bins rise with the values, stay within the limit, and split many values about evenly', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 400 }),
      fc.integer({ min: 4, max: 256 }),
      (values, maxBins) => {
        const { bins } = binsOf(values, 0, maxBins);
        if (bins.length === 0) return;
        const order = [...values.keys()].sort((i, j) => Math.fround(values[i]!) - Math.fround(values[j]!));
        for (let k = 1; k < order.length; k++) {
          const [i, j] = [order[k - 1] as number, order[k] as number];
          assert.ok((bins[i] as number) <= (bins[j] as number));
          if (Math.fround(values[i]!) === Math.fround(values[j]!)) assert.equal(bins[i], bins[j]);
        }
        assert.ok(Math.max(...bins) < maxBins && Math.min(...bins) >= 1);
      },
    ),
    { numRuns: 150 },
  );
  const { bins } = binsOf(
    Array.from({ length: 10_000 }, (_, i) => i),
    0,
    11,
  );
  const counts = new Map<number, number>();
  for (const b of bins) counts.set(b, (counts.get(b) ?? 0) + 1);
  assert.equal(counts.size, 10);
  assert.ok([...counts.values()].every((n) => n >= 900 && n <= 1100));
});

test('a frequent value keeps a bin for itself', () => {
  const values = [...Array(5000).fill(50), ...Array.from({ length: 1000 }, (_, i) => i / 10)];
  const { bins } = binsOf(values, 0, 16);
  const frequent = bins[0];
  assert.ok(bins.filter((b) => b === frequent).length <= 5000 + 2);
});

test('categories get bins by what training saw; strangers and the rarest beyond the limit count as missing', () => {
  const { binning, bins } = binsOf([4, 9, 4, Number.NaN], 10);
  assert.deepEqual(bins, [1, 2, 1, MISSING_BIN]);
  const strangers = Float32Array.of(5, 300, -1, 9);
  assert.deepEqual([...encodeRows(binning, strangers, 1, Uint32Array.of(0, 1, 2, 3)).bins], [0, 0, 0, 2]);
  const few = binsOf([0, 0, 1, 1, 2, 3, 3], 4, 4).bins;
  assert.deepEqual(few, [1, 1, 2, 2, 0, 3, 3]);
});

test('columns that cannot split anything are left out', () => {
  assert.equal(binsOf([7, 7, 7]).binning.columns.length, 0);
  assert.equal(binsOf([Number.NaN, Number.NaN]).binning.columns.length, 0);
  assert.equal(binsOf([7, Number.NaN]).binning.columns.length, 1);
});
