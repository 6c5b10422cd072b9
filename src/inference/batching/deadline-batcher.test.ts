import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Priority } from '../admission/refusal.ts';
import { type Batchable, DeadlineBatcher } from './deadline-batcher.ts';
import { DeadlineQueue } from './deadline-queue.ts';

interface Item extends Batchable {
  readonly id: number;
  isGone: boolean;
}

const MAX = 8;
const cost = (rows: number) => 1 + rows / 2;

function item(id: number, change: Partial<Item> = {}): Item {
  return {
    id,
    rows: 1,
    priority: 'live',
    arrived: 0,
    deadline: 100,
    isGone: false,
    isAlone: false,
    ...change,
  };
}

test('a deadline queue gives what a sorted list gives', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 9 }), { freq: 3 })), (steps) => {
      const queue = new DeadlineQueue<{ deadline: number; id: number }>();
      let list: { deadline: number; id: number }[] = [];
      for (const [id, deadline] of steps.entries()) {
        if (deadline === null) {
          assert.deepEqual(queue.pop(), list.shift());
          continue;
        }
        queue.push({ deadline, id });
        list.push({ deadline, id });
        list = list.toSorted((a, b) => a.deadline - b.deadline || a.id - b.id);
        assert.equal(queue.size, list.length);
        assert.deepEqual(queue.peek(), list[0]);
      }
    }),
    { seed: 6, numRuns: 200 },
  );
});

suite('a batcher', () => {
  const batcherOf = (waitMs = 0) => new DeadlineBatcher<Item>({ maxRows: MAX, waitMs, cost });

  test('begins at once where it may not wait, and else when full, waited for, or nearly too late', () => {
    const atOnce = batcherOf();
    assert.equal(atOnce.dueAt(), Number.POSITIVE_INFINITY);
    atOnce.push(item(1));
    assert.equal(atOnce.dueAt(), Number.NEGATIVE_INFINITY);
    const patient = batcherOf(10);
    patient.push(item(1, { arrived: 5 }));
    assert.equal(patient.dueAt(), 15);
    // d(4) is 3, and 2 more are kept: 12 - 3 - 2.
    patient.push(item(2, { arrived: 6, deadline: 12, rows: 3 }));
    assert.equal(patient.dueAt(), 7);
    patient.push(item(3, { arrived: 6, rows: 4 }));
    assert.equal(patient.dueAt(), Number.NEGATIVE_INFINITY);
  });

  test('takes nine rows of live work to one of batch work', () => {
    const batcher = batcherOf();
    for (let id = 0; id < 400; id++) batcher.push(item(id, { priority: id % 2 === 0 ? 'live' : 'batch' }));
    let batch = 0;
    for (let taken = 0; taken < 160; taken += MAX) {
      batch += batcher.take(0).batch.filter(({ priority }) => priority === 'batch').length;
    }
    assert.equal(batch, 16);
  });

  test('leaves batch work until no live work waits where it is throttled', () => {
    const batcher = batcherOf();
    for (let id = 0; id < 40; id++) batcher.push(item(id, { priority: id % 2 === 0 ? 'live' : 'batch' }));
    const order: Priority[] = [];
    while (!batcher.isEmpty) order.push(...batcher.take(0, true).batch.map(({ priority }) => priority));
    assert.equal(order.lastIndexOf('live'), 19);
  });

  const withdraw = (each: Item) => {
    const place = each.waitsIn;
    each.isGone = true;
    each.waitsIn = undefined;
    place?.withdrew(each.rows);
  };

  test('counts only rows that somebody waits for', () => {
    const batcher = batcherOf(10);
    const [first, second] = [item(1, { rows: 4, deadline: 90 }), item(2, { rows: 4 })];
    batcher.push(first);
    batcher.push(second);
    assert.equal(batcher.dueAt(), Number.NEGATIVE_INFINITY, 'full');
    withdraw(second);
    assert.deepEqual([batcher.rows, batcher.dueAt()], [4, 10], 'behind another one, and gone');
    assert.deepEqual(batcher.take(10).batch, [first]);
    assert.ok(batcher.isEmpty);
    assert.equal(batcher.rows, 0);
  });

  test('lets go of what was withdrawn behind others, so that giving up costs no memory', () => {
    const batcher = batcherOf();
    batcher.push(item(0, { deadline: 1 }));
    for (let id = 1; id <= 1_000; id++) {
      const each = item(id, { deadline: 1_000 });
      batcher.push(each);
      withdraw(each);
    }
    assert.ok(batcher.places <= 32, `${batcher.places} places are taken`);
    assert.equal(batcher.rows, 1);
    assert.deepEqual(
      batcher.take(0).batch.map(({ id }) => id),
      [0],
    );
  });

  /** One worker, time moved by hand; the batcher against a list that is searched anew each time. */
  test('loses nothing, answers nothing twice, keeps to the deadline order and says what is late', () => {
    const arrival = fc.record({
      gap: fc.integer({ min: 0, max: 4 }),
      rows: fc.integer({ min: 1, max: MAX }),
      slack: fc.integer({ min: 0, max: 40 }),
      priority: fc.constantFrom<Priority>('live', 'batch'),
      isAlone: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      isGone: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    });
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 60 }), (arrivals) => {
        const batcher = batcherOf();
        const waiting = new Set<Item>();
        const seen = new Set<number>();
        let now = 0;
        let freeAt = 0;
        const take = () => {
          const { batch, late } = batcher.take(now);
          for (const each of [...batch, ...late]) {
            assert.ok(waiting.delete(each) && !seen.has(each.id) && !each.isGone);
            seen.add(each.id);
          }
          assert.ok(late.every(({ deadline }) => deadline < now));
          assert.ok(batch.every(({ deadline }) => deadline >= now));
          const rows = batch.reduce((sum, each) => sum + each.rows, 0);
          assert.ok(rows <= MAX);
          assert.ok(batch.length === 1 || batch.every(({ isAlone }) => isAlone !== true));
          for (const lane of ['live', 'batch'] as const) {
            const last = batch.findLast(({ priority }) => priority === lane);
            // Whatever of its lane still waits is due later, or as late and came later.
            if (last === undefined) continue;
            for (const left of waiting) {
              if (left.priority !== lane || left.isGone) continue;
              assert.ok(
                left.deadline > last.deadline || (left.deadline === last.deadline && left.id > last.id),
              );
            }
          }
          freeAt = now + cost(rows);
        };
        for (const [id, { gap, slack, ...rest }] of arrivals.entries()) {
          now += gap;
          const each = item(id, { ...rest, isGone: false, arrived: now, deadline: now + slack });
          batcher.push(each);
          waiting.add(each);
          if (rest.isGone) withdraw(each);
          if (now >= freeAt && batcher.dueAt() <= now) take();
        }
        while (!batcher.isEmpty) {
          now = Math.max(now, freeAt);
          take();
        }
        assert.ok([...waiting].every(({ isGone }) => isGone));
        assert.equal(batcher.rows, 0);
      }),
      { seed: 6, numRuns: 300 },
    );
  });
});
