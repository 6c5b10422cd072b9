import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deterministicExp, deterministicLog, sigmoid } from './deterministic-math.ts';

function isClose(actual: number, expected: number, tolerance = 1e-15): boolean {
  return Math.abs(actual - expected) <= tolerance * Math.max(1e-300, Math.abs(expected));
}

test('exp agrees with the platform to a few parts in 10^16', () => {
  fc.assert(
    fc.property(fc.double({ min: -700, max: 700, noNaN: true }), (x) =>
      isClose(deterministicExp(x), Math.exp(x)),
    ),
    { numRuns: 2000 },
  );
});

test('log agrees with the platform and undoes exp', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 1e-300, max: 1e300, noNaN: true }),
      (x) => Math.abs(deterministicLog(x) - Math.log(x)) <= 4e-16 * Math.max(1, Math.abs(Math.log(x))),
    ),
    { numRuns: 2000 },
  );
  for (const x of [-30, -1, 0, 0.5, 20]) {
    assert.ok(Math.abs(deterministicLog(deterministicExp(x)) - x) < 1e-13);
  }
});

test('the edges are those of the platform', () => {
  assert.equal(deterministicExp(0), 1);
  assert.equal(deterministicExp(1000), Number.POSITIVE_INFINITY);
  assert.equal(deterministicExp(-1000), 0);
  assert.ok(Number.isNaN(deterministicExp(Number.NaN)));
  assert.equal(deterministicLog(1), 0);
  assert.equal(deterministicLog(0), Number.NEGATIVE_INFINITY);
  assert.equal(deterministicLog(Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(deterministicLog(-1)));
});

test('the sigmoid is symmetric, rises and never leaves [0, 1]', () => {
  assert.equal(sigmoid(0), 0.5);
  for (const x of [0.1, 1, 10, 40, 800]) {
    assert.ok(Math.abs(sigmoid(x) + sigmoid(-x) - 1) < 1e-15);
    assert.ok(sigmoid(x) > sigmoid(-x) && sigmoid(x) <= 1 && sigmoid(-x) >= 0);
  }
});

test('the bits are those of the first version', () => {
  const bits = (x: number): string => Buffer.from(Float64Array.of(x).buffer).toString('hex');
  assert.deepEqual(
    [0.1, -3.7, 12.25].map((x) => bits(deterministicExp(x))),
    EXP_BITS,
  );
  assert.deepEqual(
    [0.1, 3.7, 1e9].map((x) => bits(deterministicLog(x))),
    LOG_BITS,
  );
});

const EXP_BITS = ['d4005ab3c7aef13f', '441087c61f51993f', '90ec9a4faa820941'];
const LOG_BITS = ['1555b5bbb16b02c0', '50e50a65eeeef43f', 'b8ff2bf327b93440'];
