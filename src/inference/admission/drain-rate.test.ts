import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrainRate } from './drain-rate.ts';

/** Until `count` have left, where one leaves each `gap` for `times`. */
function timeFor(count: number, gap: number, times: number): number {
  const rate = new DrainRate();
  let now = 5_000;
  for (let i = 0; i < times; i++) {
    now += gap;
    rate.left(now);
  }
  return rate.timeFor(count, now);
}

test('the time until so many have left is theirs at the rate of late, however short that is known', () => {
  for (const times of [10, 100, 10_000]) {
    const time = timeFor(50, 2, times);
    assert.ok(time >= 85 && time <= 115, `${time} ms after ${times}`);
  }
});

test('is a second where nothing has left yet, and stays within 10 ms and 30 s', () => {
  assert.equal(new DrainRate().timeFor(5, 1_000), 1_000);
  assert.equal(timeFor(1, 1, 5_000), 10);
  assert.equal(timeFor(1_000_000, 2, 5_000), 30_000);
});
