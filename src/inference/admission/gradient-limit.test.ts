import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { GradientLimit } from './gradient-limit.ts';

/** Gradient2 said plainly, over all samples so far. */
function naive(samples: readonly (readonly [number, number])[], min: number, max: number): number {
  let limit = Math.max(min, Math.min(max, 20));
  let long = 0;
  for (const [i, [took, underWay]] of samples.entries()) {
    long = i < 10 ? (long * i + took) / (i + 1) : long * (1 - 2 / 601) + took * (2 / 601);
    if (long > 2 * took) long = 0.95 * long;
    if (2 * underWay < limit) continue;
    const gradient = Math.max(0.5, Math.min(1, (1.5 * long) / took));
    limit = Math.max(min, Math.min(max, 0.8 * limit + 0.2 * (gradient * limit + 4)));
  }
  return limit;
}

suite('the limit of what is under way', () => {
  test('is that of its plain twin', () => {
    const sample = fc.tuple(
      fc.double({ min: 0.1, max: 1_000, noNaN: true }),
      fc.integer({ min: 0, max: 200 }),
    );
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 100 }), (samples) => {
        const limit = new GradientLimit({ min: 2, max: 100 });
        for (const [took, underWay] of samples) limit.update(took, underWay);
        const expected = naive(samples, 2, 100);
        // The average is summed in another order.
        assert.ok(Math.abs(limit.limit - Math.floor(expected)) <= 1, `${limit.limit} of ${expected}`);
      }),
      { seed: 6, numRuns: 200 },
    );
  });

  test('grows while times stay and all of it is used, falls by half at most when they grow', () => {
    const limit = new GradientLimit({ min: 1, max: 200 });
    for (let i = 0; i < 100; i++) limit.update(10, 200);
    const before = limit.limit;
    assert.ok(before > 60, `${before}`);
    for (let i = 0; i < 20; i++) limit.update(200, 200);
    assert.ok(limit.limit < before / 2 && limit.limit >= 1, `${limit.limit}`);
  });

  test('stays while little of it is used, and within its bounds', () => {
    const limit = new GradientLimit({ min: 3, max: 30 });
    for (let i = 0; i < 100; i++) limit.update(10, 1);
    assert.equal(limit.limit, 20);
    for (let i = 0; i < 1_000; i++) limit.update(i < 20 ? 1 : 10_000, 100);
    assert.ok(limit.limit >= 3 && limit.limit <= 30);
  });
});
