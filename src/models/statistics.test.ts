import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitStatistics, QUANTILES, quantileOf } from './statistics.ts';

test('quantiles, missing shares and category frequencies are those of the rows', () => {
  const rows = 65;
  const values = new Float32Array(rows * 2);
  for (let r = 0; r < rows; r++) {
    values[r * 2] = rows - r;
    values[r * 2 + 1] = r < 13 ? Number.NaN : r % 2;
  }
  const s = fitStatistics(values, rows, [0, 3], [5, 1, 3]);
  assert.equal(s.rows, rows);
  assert.deepEqual([s.quantiles[0], s.quantiles[16], s.quantiles[QUANTILES - 1]], [1, 33, 65]);
  assert.deepEqual([...s.missing], [0, Math.fround(0.2)]);
  assert.deepEqual([...s.frequencies], [Math.fround(26 / 65), Math.fround(26 / 65), 0]);
  assert.deepEqual([s.margins[0], s.margins[16], s.margins[QUANTILES - 1]], [1, 3, 5]);
  assert.equal(quantileOf(new Float32Array(0), 0.5), 0);
});

test('a column without any value has quantiles of zero', () => {
  const s = fitStatistics(new Float32Array(4).fill(Number.NaN), 4, [0], []);
  assert.ok(s.quantiles.every((q) => q === 0));
  assert.deepEqual([...s.missing], [1]);
});
