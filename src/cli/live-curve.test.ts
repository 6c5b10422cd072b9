import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CurvePoint } from '../training/index.ts';
import { LiveCurve } from './live-curve.ts';

const point = (round: number): CurvePoint => ({
  ...{ part: 'trees', round, rounds: 900, rowsPerSecond: null, seconds: 0, cpuSeconds: 0, rssBytes: 1 },
  ...{ pauses: 0, pausedMs: 0 },
});

interface Told {
  readonly model: string;
  readonly state: string;
  readonly points: readonly CurvePoint[];
}

function listening(options: { readonly fails?: boolean } = {}) {
  const told: (Told & { readonly path: string })[] = [];
  const failures: unknown[] = [];
  let now = 0;
  const api = {
    call: async (_method: string, path: string, body?: unknown) => {
      if (options.fails) throw new Error('nobody is there');
      told.push({ path, ...(body as Told) });
      return {};
    },
  };
  const curve = new LiveCurve(api, 'm', {
    now: () => now,
    onFailure: (error) => failures.push(error),
  });
  return { curve, told, failures, pass: (ms: number) => (now += ms) };
}

test('points go out at most once a second, and all of them by the end', async () => {
  const { curve, told, pass } = listening();
  for (let round = 1; round <= 30; round++) {
    curve.add(point(round));
    await Promise.resolve();
    pass(100);
  }
  await curve.end('done');
  assert.deepEqual(
    told.map(({ points, state }) => [state, points.length]),
    [
      ['running', 1],
      ['running', 10],
      ['running', 10],
      ['done', 9],
    ],
  );
  assert.deepEqual(
    told.flatMap(({ points }) => points.map(({ round }) => round)),
    Array.from({ length: 30 }, (_, i) => i + 1),
  );
  assert.equal(new Set(told.map(({ path }) => path)).size, 1);
  assert.match(told[0]?.path ?? '', /^\/v1\/training\/runs\/[0-9a-f-]{36}$/);
});

test('a message holds 256 points at most, the last ones', async () => {
  const { curve, told } = listening();
  for (let round = 1; round <= 400; round++) curve.add(point(round));
  await curve.end('failed');
  const [, { state, points } = { state: '', points: [] }] = told;
  assert.deepEqual([state, points.length, points.at(-1)?.round], ['failed', 256, 400]);
});

test('an owner who is away fails no training, and is told of once', async () => {
  const { curve, failures, pass } = listening({ fails: true });
  for (let round = 1; round <= 5; round++) {
    curve.add(point(round));
    await new Promise(setImmediate);
    pass(1000);
  }
  await curve.end('done');
  assert.equal(failures.length, 1);
});
