import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../test/support/seed.ts';
import { SeededRandom } from '../base/index.ts';
import { log1pFloat32 } from './log1p.ts';

test('log1p in float32 is the rounded Math.log1p, to the bit', () => {
  const edges = [
    0,
    1,
    2047,
    2048,
    0.5,
    2 ** -60,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e300,
    1e308,
    -0.5,
    -1 + 2 ** -53,
  ];
  const random = new SeededRandom(7);
  for (let i = 0; i < 1_000_000; i++) {
    // Of every size; whole numbers; close to the borders between the table's parts.
    const x = edges[i] ?? (i % 3 === 0 ? Math.floor(random.next() * 1e7) : Math.exp(random.next() * 90 - 45));
    const y = i % 5 === 0 ? (1 + (i & 127) / 128) * 2 ** (i % 40) - 1 + random.next() * 1e-9 : x;
    if (log1pFloat32(y) !== Math.fround(Math.log1p(y))) assert.fail(`log1p(${y}): ${log1pFloat32(y)}`);
  }
  for (const x of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
    assert.ok(Object.is(log1pFloat32(x), Math.log1p(x)));
  }
});
