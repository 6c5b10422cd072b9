import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CurvePoint } from '../training/index.ts';
import { TrainingRuns } from './training-runs.ts';

const point = (round: number): CurvePoint => ({
  ...{ part: 'trees', round, rounds: 5000, rowsPerSecond: null, seconds: 0, cpuSeconds: 0, rssBytes: 1 },
  ...{ pauses: 0, pausedMs: 0 },
});

test('a run begins where it is first heard of, and remembers its points and its end', () => {
  let now = 100;
  const runs = new TrainingRuns({ now: () => now });
  runs.tell('a', { model: 'm', state: 'running', points: [point(1), point(2)] });
  now = 200;
  runs.tell('b', { model: 'n', state: 'running', points: [] });
  now = 300;
  runs.tell('a', { model: 'm', state: 'done', points: [point(3)] });
  assert.deepEqual(runs.list(), [
    { id: 'a', model: 'm', state: 'done', begunMs: 100, heardMs: 300, last: point(3) },
    { id: 'b', model: 'n', state: 'running', begunMs: 200, heardMs: 200 },
  ]);
  assert.deepEqual(
    runs.find('a')?.points.map(({ round }) => round),
    [1, 2, 3],
  );
  assert.equal(runs.find('c'), undefined);
});

test('a long curve is thinned out evenly from its first point on, and its last point is always known', () => {
  const runs = new TrainingRuns({ now: () => 0 });
  for (let round = 1; round <= 4999; round++) {
    runs.tell('a', { model: 'm', state: 'running', points: [point(round)] });
  }
  const found = runs.find('a');
  const rounds = found?.points.map(({ round }) => round) ?? [];
  assert.ok(rounds.length >= 500 && rounds.length < 1000, String(rounds.length));
  assert.deepEqual(
    rounds,
    rounds.map((_, i) => 1 + 8 * i),
  );
  assert.equal(found?.last?.round, 4999);
});

test('only the last sixteen runs are remembered', () => {
  const runs = new TrainingRuns({ now: () => 0 });
  for (let i = 0; i < 20; i++) runs.tell(`r${i}`, { model: 'm', state: 'done', points: [] });
  assert.equal(runs.list().length, 16);
  assert.equal(runs.find('r3'), undefined);
  assert.equal(runs.list()[0]?.id, 'r19');
});
