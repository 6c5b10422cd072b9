import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { combineShares, splitSecret } from './shamir.ts';

test('any threshold of the shares gives the secret', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.integer({ min: 2, max: 20 }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer(),
      (secret, threshold, more, order) => {
        const count = threshold + more;
        const shares = splitSecret(secret, { threshold, count });
        const from = Math.abs(order) % (more + 1);
        assert.deepEqual(combineShares(shares.slice(from, from + threshold)), secret);
        assert.deepEqual(combineShares(shares), secret);
      },
    ),
    { seed: 20261123, numRuns: 200 },
  );
});

test('one share too few fits every secret', () => {
  // The share at x = 1 of a line through (0, s) takes every value once as the slope does.
  for (const secret of [0, 1, 255]) {
    const seen = new Set<number>();
    for (let slope = 0; slope < 256; slope++) {
      const random = (n: number) => new Uint8Array(n).fill(slope);
      seen.add(splitSecret(Uint8Array.of(secret), { threshold: 2, count: 2 }, random)[0]?.bytes[0] as number);
    }
    assert.equal(seen.size, 256);
  }
});

test('the field is that of AES (FIPS 197, section 4.2: 57 * 83 = c1, 57 * 13 = fe)', () => {
  const at = (x: number) => {
    const random = (n: number) => new Uint8Array(n).fill(0x57);
    return splitSecret(Uint8Array.of(0), { threshold: 2, count: x }, random)[x - 1]?.bytes[0];
  };
  assert.equal(at(0x83), 0xc1);
  assert.equal(at(0x13), 0xfe);
});
