import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { SOJOURN_DEFAULTS, SojournBound } from './sojourn-bound.ts';

const { targetMs, intervalMs, stepMs } = SOJOURN_DEFAULTS;

suite('the bound of a wait', () => {
  test('is none for a burst that drains within an interval', () => {
    const bound = new SojournBound();
    for (let now = 0; now < 10 * intervalMs; now++) {
      bound.note(now % intervalMs === 0, now);
      assert.equal(bound.most, Number.POSITIVE_INFINITY);
    }
  });

  test('is the target from one interval after the queue was empty last until it is empty', () => {
    const bound = new SojournBound();
    bound.note(true, 0);
    for (let now = 7; now < 7 + intervalMs; now++) {
      bound.note(false, now);
      assert.equal(bound.most, Number.POSITIVE_INFINITY);
    }
    bound.note(false, 7 + intervalMs);
    assert.equal(bound.most, targetMs);
    bound.note(true, 200);
    assert.equal(bound.most, Number.POSITIVE_INFINITY);
  });

  test('does not take a process that stood still for a queue that stands', () => {
    const bound = new SojournBound();
    bound.note(false, 0);
    bound.note(false, 10 * intervalMs);
    assert.equal(bound.isStanding, false);
  });

  test('is what a plain reading of the notes gives', () => {
    const notes = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 60 }), isEmpty: fc.boolean() }));
    fc.assert(
      fc.property(notes, (steps) => {
        const bound = new SojournBound();
        const seen: { at: number; isEmpty: boolean }[] = [];
        let now = 0;
        for (const { gap, isEmpty } of steps) {
          now += gap;
          bound.note(isEmpty, now);
          seen.push({ at: now, isEmpty });
          const since = seen.slice(seen.findLastIndex((each) => each.isEmpty) + 1);
          const gaps = since.slice(1).map(({ at }, i) => Math.min(stepMs, at - (since[i]?.at ?? 0)));
          const stood = gaps.reduce((sum, each) => sum + each, 0);
          assert.equal(bound.isStanding, stood >= intervalMs);
        }
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});
