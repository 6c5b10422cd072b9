import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { SOJOURN_DEFAULTS, SojournBound } from './sojourn-bound.ts';

const { targetMs, intervalMs } = SOJOURN_DEFAULTS;

suite('the bound of a wait', () => {
  test('is none for a burst that drains within an interval', () => {
    const bound = new SojournBound();
    for (let now = 0; now < 10 * intervalMs; now++) {
      bound.note(now % intervalMs === 0, now);
      assert.equal(bound.at(now), Number.POSITIVE_INFINITY);
    }
  });

  test('is the target from one interval after the queue was empty last until it is empty', () => {
    const bound = new SojournBound();
    bound.note(true, 0);
    bound.note(false, 7);
    assert.equal(bound.at(7 + intervalMs - 1), Number.POSITIVE_INFINITY);
    bound.note(false, 50);
    assert.equal(bound.at(7 + intervalMs), targetMs);
    assert.equal(bound.isStanding(7 + intervalMs), true);
    bound.note(true, 200);
    assert.equal(bound.at(200), Number.POSITIVE_INFINITY);
  });

  test('is what a plain reading of the notes gives', () => {
    const notes = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 80 }), isEmpty: fc.boolean() }));
    fc.assert(
      fc.property(notes, (steps) => {
        const bound = new SojournBound();
        const seen: { at: number; isEmpty: boolean }[] = [];
        let now = 0;
        for (const { gap, isEmpty } of steps) {
          now += gap;
          bound.note(isEmpty, now);
          seen.push({ at: now, isEmpty });
          const lastEmpty = seen.findLastIndex((each) => each.isEmpty);
          const since = seen[lastEmpty + 1]?.at;
          assert.equal(bound.isStanding(now), since !== undefined && now - since >= intervalMs);
        }
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});
