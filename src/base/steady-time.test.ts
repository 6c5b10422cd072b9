import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './clock.ts';
import { SteadyTime } from './steady-time.ts';

test('steady time passes as the clock does, and follows it back but never ahead', () => {
  const clock = new ManualClock(1_000_000);
  const steady = new SteadyTime(clock);
  clock.advance(500);
  assert.deepEqual([steady.now(), steady.aheadMs], [1_000_500, 0]);
  clock.jump(3_600_000);
  assert.deepEqual([steady.now(), steady.aheadMs], [1_000_500, 3_600_000]);
  clock.advance(100);
  assert.equal(steady.now(), 1_000_600);
  clock.jump(-7_200_000);
  assert.deepEqual([steady.now(), steady.aheadMs], [1_000_600 - 3_600_000, -3_600_000]);
});
