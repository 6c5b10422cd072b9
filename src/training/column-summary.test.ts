import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SeededRandom } from '../base/index.ts';
import { cutsOf, keyValue, mergeSummaries, orderedKey, SUMMARY_LIMIT, summarize } from './column-summary.ts';

const summary = (values: readonly number[]) => summarize(Uint32Array.from(values, orderedKey), values.length);

test('keys order as the numbers do, and lead back to them', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true }), fc.float({ noNaN: true }), (a, b) => {
      assert.equal(keyValue(orderedKey(a)), a + 0);
      assert.equal(
        Math.sign(orderedKey(a) - orderedKey(b)),
        a === b ? 0 : Math.sign(a - b || (a > b ? 1 : -1)),
      );
    }),
  );
});

test('any split of the rows gives the same summary, and so the same cuts, in any order of merging', () => {
  const random = new SeededRandom(4);
  const spreads = [
    () => random.normal(),
    () => Math.exp(6 * random.normal()),
    () => random.integer(0, 70_000),
  ];
  for (const draw of spreads) {
    const values = Array.from({ length: 120_000 }, draw);
    const whole = summary(values);
    assert.ok(whole.keys.length <= SUMMARY_LIMIT && whole.shift > 0);
    for (const shards of [2, 3, 7]) {
      // Uneven shards: squares modulo a prime leave some of them empty.
      const parts = Array.from({ length: shards }, (_, s) =>
        summary(values.filter((_, i) => (i * i) % shards === s)),
      );
      const merged = random.shuffle(parts).reduce(mergeSummaries);
      assert.deepEqual(merged, whole);
      assert.deepEqual(cutsOf(merged, 255), cutsOf(whole, 255));
    }
  }
});

test('few distinct values are kept as they are', () => {
  const whole = summary([3, 1, 1, -0, 0]);
  assert.deepEqual([...whole.keys].map(keyValue), [0, 1, 3]);
  assert.deepEqual([...whole.counts], [2, 2, 1]);
  assert.equal(whole.shift, 0);
  assert.deepEqual(mergeSummaries(summary([3, 1]), summary([0, 0, 1])), whole);
  assert.deepEqual([...cutsOf(whole, 255)], [0.5, 2]);
});

test('cut values have bins of about equal weight', () => {
  const random = new SeededRandom(9);
  const values = Array.from({ length: 100_000 }, () => 100 + random.normal());
  const cuts = cutsOf(summary(values), 100);
  assert.equal(cuts.length, 99);
  const counts = new Uint32Array(100);
  for (const x of values) counts[cuts.filter((cut) => cut < Math.fround(x)).length]! += 1;
  assert.ok(
    counts.every((n) => n > 800 && n < 1200),
    [...counts].join(),
  );
});
