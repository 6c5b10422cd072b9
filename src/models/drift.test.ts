import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { DriftWindow, fitDriftReference } from './drift.ts';
import { chiSquareTail } from './special-functions.ts';

const COLUMNS = [
  { name: 'bytes', categories: 0 },
  { name: 'zeros', categories: 0 },
  { name: 'service', categories: 5 },
  { name: 'gap', categories: 0 },
];

/** Rows of one law; `shift` moves the first column, `absent` drops values of the last. */
function rowsOf(random: SeededRandom, n: number, { shift = 0, absent = 0.1 } = {}) {
  const values = new Float32Array(n * COLUMNS.length);
  const scores = new Float32Array(n);
  for (let r = 0; r < n; r++) {
    const row = values.subarray(r * COLUMNS.length, (r + 1) * COLUMNS.length);
    row[0] = Math.exp(random.uniform(0, 8)) * (1 + shift);
    row[1] = random.chance(0.9) ? 0 : random.uniform(0, 1);
    row[2] = random.integer(0, 4);
    row[3] = random.chance(absent) ? Number.NaN : random.uniform(0, 1);
    scores[r] = random.uniform(0, 1) ** 4;
  }
  return { values, scores };
}

const calibration = rowsOf(new SeededRandom(1), 20_000);
const REFERENCE = fitDriftReference(calibration.values, calibration.scores, COLUMNS);

function window(random: SeededRandom, n: number, change = {}): DriftWindow {
  const live = new DriftWindow(REFERENCE);
  const rows = rowsOf(random, n, change);
  for (let r = 0; r < n; r++) live.add(rows.values.subarray(r * 4, r * 4 + 4), rows.scores[r] as number);
  return live;
}

test('rows of the same law are seldom called shifted, in small windows and large ones', () => {
  const random = new SeededRandom(20261123);
  for (const n of [500, 5000]) {
    let alarms = 0;
    // The size of the effect is left out: chance alone must not do it.
    for (let i = 0; i < 100; i++) if (window(random, n).test({ minPsi: 0 }).verdict === 'shifted') alarms++;
    assert.ok(alarms <= 5, `${alarms} of 100 at ${n} rows`);
  }
});

test('a shift is found and its column named', () => {
  const random = new SeededRandom(5);
  const moved = window(random, 600, { shift: 5 }).test();
  assert.equal(moved.verdict, 'shifted');
  assert.deepEqual(
    moved.shifted.map(({ name }) => name),
    ['bytes'],
  );
  const absent = window(random, 600, { absent: 0.6 }).test();
  assert.deepEqual(
    absent.shifted.map(({ name }) => name),
    ['gap'],
  );
});

test('a category nobody had seen is a shift', () => {
  const live = new DriftWindow(REFERENCE);
  const random = new SeededRandom(2);
  const rows = rowsOf(random, 1000);
  for (let r = 0; r < 1000; r++) {
    const row = rows.values.subarray(r * 4, r * 4 + 4);
    if (random.chance(0.2)) row[2] = 77;
    live.add(row, rows.scores[r] as number);
  }
  assert.deepEqual(
    live.test().shifted.map(({ name }) => name),
    ['service'],
  );
});

test('a shift that is certain but small does not count', () => {
  const verdict = window(new SeededRandom(3), 200_000, { shift: 0.15 }).test();
  assert.equal(verdict.verdict, 'same');
});

test('too few rows say nothing, and a cleared window has none', () => {
  const live = window(new SeededRandom(4), 499, { shift: 50 });
  assert.deepEqual(live.test(), { verdict: 'too-few', rows: 499, shifted: [] });
  live.clear();
  assert.equal(live.rows, 0);
});

test('the tail of chi-square agrees with tables (Abramowitz and Stegun, table 26.8)', () => {
  for (const [x, degrees, p] of [
    [3.84146, 1, 0.05],
    [18.30704, 10, 0.05],
    [23.20925, 10, 0.01],
    [0.41174, 5, 0.995],
    [140.169, 100, 0.005],
  ] as const) {
    assert.ok(Math.abs(chiSquareTail(x, degrees) - p) < 2e-6, `${x}, ${degrees}`);
  }
});

test('a window puts each value into the bin that the fit put it into', () => {
  const { values, scores } = calibration;
  const extremes = Float32Array.from(values);
  for (const [i, value] of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0].entries()) {
    extremes[i * COLUMNS.length] = value;
  }
  for (const rows of [values, extremes]) {
    const window = new DriftWindow(fitDriftReference(rows, scores, COLUMNS));
    for (const [r, score] of scores.entries()) {
      window.add(rows.subarray(r * COLUMNS.length, (r + 1) * COLUMNS.length), score);
    }
    // Every column is told of, with an index of nothing.
    const { shifted } = window.test({ falseDiscoveryRate: 1, minPsi: 0 });
    assert.equal(shifted.length, COLUMNS.length + 1);
    assert.ok(shifted.every(({ psi }) => psi === 0));
  }
});
