import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock, type Milliseconds } from '../../base/index.ts';
import type { Side } from './comparison.ts';
import { Mirror } from './mirror.ts';

interface Seen {
  readonly side: Side;
  readonly values: readonly number[];
  readonly answered: readonly number[];
}

/** A mirror of one column whose clock moves by `cost` a row, and whose later work waits until it is let run. */
function setUp({ room = 8, cost = 0, maxShare = 0.2 } = {}) {
  const clock = new ManualClock(0);
  const later: { readonly work: () => void; readonly delayMs: Milliseconds }[] = [];
  const seen: Seen[] = [];
  const faults: string[] = [];
  let dropped = 0;
  let failing = false;
  const mirror = new Mirror({
    config: { queueRows: room, maxShare },
    columns: 1,
    clock,
    later: (work, delayMs) => later.push({ work, delayMs }),
    score: (_, values, rows, out) => {
      clock.advance(cost * rows);
      if (failing) throw new RangeError('broken');
      for (let i = 0; i < rows; i++) out.probability[i] = (values[i] as number) / 100;
    },
    onRows: ({ side, rows, answered, probability }) => {
      seen.push({
        side,
        values: Array.from(probability, (p) => Math.round(p * 100)),
        answered: [...answered.verdict],
      });
      assert.equal(probability.length, rows);
    },
    onFail: (side, error) => faults.push(`${side} ${String(error)}`),
    onDrop: (rows) => {
      dropped += rows;
    },
  });
  return {
    mirror,
    seen,
    faults,
    later,
    dropped: () => dropped,
    fail: (isFailing: boolean) => {
      failing = isFailing;
    },
    offer: (side: Side, ...values: readonly number[]) =>
      mirror.offer(side, {
        rows: values.length,
        values: Float32Array.from(values),
        probability: Float32Array.from(values, () => 0.5),
        verdict: Uint8Array.from(values, (value) => value % 3),
      }),
    /** Runs what waits, and what that leaves to be run. */
    async drain(rounds = 1_000) {
      for (let i = 0; i < rounds && later.length > 0; i++) {
        later.shift()?.work();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

suite('a mirror', () => {
  test('shows each row once, in order, to the side it was offered for', async () => {
    const { seen, offer, drain, mirror, later } = setUp();
    offer('candidate', 1, 2, 3);
    offer('champion', 4);
    offer('candidate', 5);
    assert.equal(later.length, 1);
    await drain();
    assert.deepEqual(
      seen.flatMap(({ side, values, answered }) => values.map((value, i) => [side, value, answered[i]])),
      [
        ['candidate', 1, 1],
        ['candidate', 2, 2],
        ['candidate', 3, 0],
        ['champion', 4, 1],
        ['candidate', 5, 2],
      ],
    );
    assert.equal(mirror.waiting, 0);
  });

  test('drops what finds no room, and counts it', async () => {
    const { seen, offer, drain, dropped, mirror } = setUp({ room: 4 });
    offer('candidate', 1, 2, 3);
    offer('candidate', 4, 5, 6);
    assert.equal(mirror.waiting, 4);
    assert.equal(dropped(), 2);
    await drain();
    offer('candidate', 7, 8, 9, 10);
    await drain();
    assert.deepEqual(
      seen.flatMap(({ values }) => values),
      [1, 2, 3, 4, 7, 8, 9, 10],
    );
  });

  test('takes no more than its share of the time, however slow the other version is', async () => {
    const { offer, later, drain } = setUp({ cost: 10, maxShare: 0.2 });
    offer('candidate', 1, 2, 3);
    await drain(1);
    assert.equal(later[0]?.delayMs, 40);
  });

  test('goes on behind a batch that fails', async () => {
    const { seen, faults, offer, drain, fail } = setUp();
    fail(true);
    offer('candidate', 1);
    await drain();
    fail(false);
    offer('candidate', 2);
    await drain();
    assert.deepEqual(faults, ['candidate RangeError: broken']);
    assert.deepEqual(seen, [{ side: 'candidate', values: [2], answered: [2] }]);
  });

  test('takes nothing while it is paused or when it was closed', async () => {
    const { seen, offer, drain, dropped, mirror } = setUp();
    mirror.pause(true);
    offer('candidate', 1, 2);
    mirror.pause(false);
    offer('candidate', 3);
    mirror.close();
    await drain();
    offer('candidate', 4);
    await drain();
    assert.deepEqual(seen, []);
    assert.equal(dropped(), 3);
  });
});
