import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { CoDel } from './codel.ts';

/** RFC 8289, section 5, said plainly: state in the names that the RFC has. */
function naive(steps: readonly { readonly now: number; readonly wait: number; readonly last: boolean }[]) {
  let firstAboveTime = 0;
  let dropping = false;
  let dropNext = 0;
  let count = 0;
  let lastCount = 0;
  return steps.map(({ now, wait, last }) => {
    let okToDrop = false;
    if (wait < 5 || last) firstAboveTime = 0;
    else if (firstAboveTime === 0) firstAboveTime = now + 100;
    else okToDrop = now >= firstAboveTime;
    if (dropping && !okToDrop) {
      dropping = false;
      return false;
    }
    if (dropping) {
      if (now < dropNext) return false;
      count += 1;
      dropNext += 100 / count ** 0.5;
      return true;
    }
    if (!okToDrop) return false;
    const delta = count - lastCount;
    count = delta > 1 && now - dropNext < 1600 ? delta : 1;
    lastCount = count;
    dropNext = now + 100 / count ** 0.5;
    dropping = true;
    return true;
  });
}

suite('a queue under CoDel', () => {
  test('sheds what its plain twin sheds', () => {
    const step = fc.record({
      gap: fc.integer({ min: 0, max: 60 }),
      wait: fc.integer({ min: 0, max: 30 }),
      last: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let now = 1;
        const timed = steps.map(({ gap, wait, last }) => {
          now += gap;
          return { now, wait: wait + 3, last };
        });
        const codel = new CoDel();
        const shed = timed.map((each) => codel.sheds(each.wait, each.now, each.last));
        assert.deepEqual(shed, naive(timed));
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  test('lets a burst of less than an interval pass whole', () => {
    const codel = new CoDel();
    for (let now = 1; now < 100; now++) assert.equal(codel.sheds(50, now, false), false);
    assert.equal(codel.sheds(1, 100, false), false);
    for (let now = 101; now < 200; now++) assert.equal(codel.sheds(50, now, false), false);
  });

  test('sheds ever faster while the queue stands', () => {
    const codel = new CoDel();
    const shedAt: number[] = [];
    for (let now = 1; now < 1_500; now++) if (codel.sheds(50, now, false)) shedAt.push(now);
    assert.equal(shedAt[0], 101);
    const gaps = shedAt.slice(1).map((at, i) => at - (shedAt[i] as number));
    assert.ok(
      gaps.every((gap, i) => i === 0 || gap <= (gaps[i - 1] as number) + 1),
      gaps.join(),
    );
    assert.ok((gaps.at(-1) as number) < 30);
  });
});
