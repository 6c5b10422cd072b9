import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { DistinctCount } from './distinct-count.ts';
import { KeyTable } from './key-table.ts';

test('a key table gives one slot a live key, and frees it with the last release', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(6), { maxLength: 60 }), (keys) => {
      const capacity = 8;
      const table = new KeyTable(capacity);
      const ring: { key: number; slot: number }[] = [];
      for (const key of keys) {
        if (ring.length === capacity) table.release(ring.shift()?.slot ?? -1);
        const slot = table.acquire(key, 0, key & 1, 0, -key);
        for (const other of ring) assert.equal(other.slot === slot, other.key === key);
        ring.push({ key, slot });
        assert.equal(table.heldBy(slot), ring.filter((other) => other.key === key).length);
        assert.equal(table.size, new Set(ring.map((other) => other.key)).size);
      }
    }),
  );
});

test('a distinct count equals the size of a set, reset after reset', () => {
  const count = new DistinctCount(100);
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(50), fc.nat(0x7fffffff)), { maxLength: 100 }), (values) => {
      count.reset();
      for (const value of values) count.add(value);
      assert.equal(count.count, new Set(values).size);
    }),
  );
});
