import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { FlowTable, WORD, WORDS } from './flow-table.ts';

test('equals a map and keeps each list in order through random inserts, touches and removals', () => {
  const random = new SeededRandom(3);
  const table = new FlowTable(2, Uint32Array.of(1, 2));
  const twin = new Map<number, number>();
  const order: number[] = [];
  const hashOf = (id: number) => {
    table.key.fill(0);
    table.key[0] = id;
    table.key[WORD.kind] = (id % 2 === 0 ? 0x400 : 0x600) | 17;
    // A hash of 5 bits makes long runs of collisions, which deletion must shift back.
    return table.hashKey() & 31;
  };
  for (let step = 0; step < 20_000; step++) {
    const id = random.integer(0, 600);
    const slot = table.find(hashOf(id));
    assert.equal(slot, twin.get(id) ?? -1);
    if (slot < 0) {
      const inserted = table.insert(hashOf(id));
      table.append(inserted, 1);
      twin.set(id, inserted);
      order.push(id);
    } else {
      table.unlink(slot);
      order.splice(order.indexOf(id), 1);
      if (random.chance(0.6)) {
        table.append(slot, 1);
        order.push(id);
      } else {
        table.remove(slot);
        twin.delete(id);
      }
    }
    const oldest = table.oldest(1);
    assert.equal(oldest < 0 ? undefined : table.words[oldest * WORDS], order[0]);
    assert.equal(table.size, twin.size);
  }
});

test('hashes by its key: another key gives other buckets', () => {
  const hash = (key: Uint32Array) => {
    const table = new FlowTable(1, key);
    table.key.fill(7);
    return table.hashKey();
  };
  assert.notEqual(hash(Uint32Array.of(1, 2)), hash(Uint32Array.of(1, 3)));
  assert.equal(hash(Uint32Array.of(1, 2)), hash(Uint32Array.of(1, 2)));
});
