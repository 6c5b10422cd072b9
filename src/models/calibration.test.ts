import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { calibrate, fitPlatt, IDENTITY_CALIBRATION } from './calibration.ts';
import { sigmoid } from './deterministic-math.ts';
import { ModelError } from './errors.ts';

function draw(rows: number, slope: number, intercept: number) {
  const random = new SeededRandom(1);
  const margins = Float64Array.from({ length: rows }, () => random.normal(0, 2));
  const labels = Uint8Array.from(margins, (m) => (random.chance(sigmoid(slope * m + intercept)) ? 1 : 0));
  return { margins, labels };
}

function logLoss(p: Float64Array, labels: Uint8Array): number {
  return p.reduce((sum, q, i) => sum - Math.log(labels[i] === 1 ? q : 1 - q), 0) / p.length;
}

test('the slope and intercept that made the labels are found again', () => {
  const { margins, labels } = draw(20_000, 0.5, -1);
  const { slope, intercept } = fitPlatt(margins, labels);
  assert.ok(Math.abs(slope - 0.5) < 0.03, `slope ${slope}`);
  assert.ok(Math.abs(intercept + 1) < 0.06, `intercept ${intercept}`);
});

test('calibration lowers the log loss of an overconfident margin', () => {
  const { margins, labels } = draw(2000, 0.25, 0.5);
  const fitted = fitPlatt(margins, labels);
  const before = logLoss(margins.map(sigmoid), labels);
  const after = logLoss(
    margins.map((m) => calibrate(fitted, m)),
    labels,
  );
  assert.ok(after < before - 0.05, `${before} -> ${after}`);
});

test('separated classes keep a finite, rising calibration', () => {
  const margins = Float64Array.of(-3, -2, -1, 1, 2, 3);
  const { slope, intercept } = fitPlatt(margins, [0, 0, 0, 1, 1, 1]);
  assert.ok(slope > 0 && slope < 100 && Number.isFinite(intercept));
});

test('margins that point the wrong way still give a rising calibration', () => {
  const { slope } = fitPlatt([-2, -1, 1, 2], [1, 1, 0, 0]);
  assert.ok(slope > 0);
});

test('one class alone leaves the margin as it is, and unequal lengths are refused', () => {
  assert.equal(fitPlatt([1, 2], [1, 1]), IDENTITY_CALIBRATION);
  assert.equal(fitPlatt([], []), IDENTITY_CALIBRATION);
  assert.throws(() => fitPlatt([1], []), ModelError);
});
