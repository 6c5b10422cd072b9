import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { ClockTable } from '../../test/twins/sliding-windows/clock-table.ts';
import { WordIndex } from './word-index.ts';

const word = fc.oneof(fc.integer(), fc.integer({ min: -2, max: 2 }));
const key = fc.tuple(word, word, word, word, word);

test('an index finds what a Map finds, whatever its seed, through removals and growth', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, fc.boolean()), { maxLength: 200 }),
      fc.uint32Array({ minLength: 11, maxLength: 11 }),
      (steps, seed) => {
        let room = 4;
        const index = new WordIndex(room, seed);
        const map = new Map<string, number>();
        const free: number[] = [];
        let fresh = 0;
        for (const [words, isRemoval] of steps) {
          const name = words.join();
          const slot = index.find(...words);
          assert.equal(slot, map.get(name) ?? -1);
          if (slot !== -1 && isRemoval) {
            index.remove(slot);
            map.delete(name);
            free.push(slot);
          } else if (slot === -1) {
            if (free.length === 0 && fresh === room) {
              room *= 2;
              index.grow(room);
            }
            const given = free.pop() ?? fresh++;
            index.insert(given, ...words);
            map.set(name, given);
          }
        }
        for (const [name, slot] of map) {
          const [a = 0, b = 0, c = 0, d = 0, e = 0] = name.split(',').map(Number);
          assert.equal(index.find(a, b, c, d, e), slot);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('a table gives the slot of the key that was not seen since the hand came by', () => {
  const table = new ClockTable(3);
  const slotOf = (k: number) => table.acquire(k, 0, 0, 0, 0);
  assert.deepEqual([1, 2, 3].map(slotOf), [0, 1, 2]);
  assert.equal(slotOf(4), 0); // all were seen: the hand goes round once, and 1 has to go
  slotOf(2);
  assert.equal(slotOf(5), 2); // 2 is spared, 3 is not
  assert.equal(table.isNew, true);
  const life = table.lifeOf(slotOf(2));
  assert.equal(table.isNew, false);
  slotOf(6);
  slotOf(7);
  slotOf(8);
  assert.notEqual(table.lifeOf(slotOf(2)), life);
  assert.equal(table.size, 3);
});
