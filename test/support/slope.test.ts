import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { slopeOf } from './slope.ts';

test('finds a slope that is there and holds it in its interval', () => {
  const samples = Array.from({ length: 240 }, (_, at) => ({ at, value: 5 + 0.25 * at + Math.sin(at) }));
  const { perUnit, low, high } = slopeOf(samples);
  assert.ok(Math.abs(perUnit - 0.25) < 0.01 && low <= 0.25 && high >= 0.25 && low > 0);
});

test('finds none in a series that only wavers, nineteen times of twenty', () => {
  let hits = 0;
  for (let seed = 1; seed <= 200; seed++) {
    const random = new SeededRandom(seed);
    const samples = Array.from({ length: 120 }, (_, at) => ({ at, value: random.uniform(0, 10) }));
    const { low, high } = slopeOf(samples);
    if (low <= 0 && high >= 0) hits++;
  }
  assert.ok(hits >= 180 && hits <= 198, `${hits} of 200`);
});
