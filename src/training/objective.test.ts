import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sigmoid } from '../models/index.ts';
import { baseMargins, FIXED_POINT, logisticLoss, lossSum, softmaxLoss } from './objective.ts';

test('gradient and hessian are the finite differences of the loss', () => {
  for (const label of [0, 1]) {
    for (const margin of [-6, -1.5, 0, 0.3, 4]) {
      for (const weight of [1, 0.05, 7]) {
        const p = sigmoid(margin);
        const [g, h] = [weight * (p - label), weight * p * (1 - p)];
        const e = 1e-4;
        const [below, here, above] = [margin - e, margin, margin + e].map(
          (m) => weight * logisticLoss(m, label),
        );
        const slope = ((above as number) - (below as number)) / (2 * e);
        const bend = ((above as number) - 2 * (here as number) + (below as number)) / (e * e);
        assert.ok(Math.abs(g - slope) < 1e-5);
        assert.ok(Math.abs(h - bend) < 1e-4);
      }
    }
  }
});

test('the loss does not overflow at extreme margins', () => {
  assert.equal(logisticLoss(800, 1), 0);
  assert.equal(logisticLoss(-800, 1), 800);
  assert.deepEqual(lossSum(new Float64Array(0), 0, 1, new Uint8Array(0), undefined), { sum: 0, rows: 0 });
  assert.equal(softmaxLoss(Float64Array.of(-800, 800), 0, 1, 2, 0), 1600);
});

test('of two classes, softmax and logistic loss are the same of the difference', () => {
  const margins = Float64Array.of(0.3, -1, 1.5, 0.25);
  for (const r of [0, 1]) {
    for (const label of [0, 1]) {
      const difference = (margins[2 + r] as number) - (margins[r] as number);
      assert.ok(Math.abs(softmaxLoss(margins, r, 2, 2, label) - logisticLoss(difference, label)) < 1e-12);
    }
  }
  const { sum } = lossSum(Float64Array.of(0, 0), 2, 1, Uint8Array.of(0, 1), Float32Array.of(1, 3));
  assert.ok(Math.abs(sum / FIXED_POINT - 4 * Math.LN2) < 1e-5);
});

test('the base margins are log-odds of the weighted shares, bounded where a class is absent', () => {
  assert.deepEqual(baseMargins(Uint8Array.of(0, 1), undefined, 1), Float64Array.of(0));
  const [odds] = baseMargins(Uint8Array.of(0, 1), Float32Array.of(1, 3), 1);
  assert.ok(Math.abs((odds as number) - Math.log(3)) < 1e-12);
  assert.deepEqual(baseMargins(Uint8Array.of(1), undefined, 1), Float64Array.of(10));
  assert.deepEqual(baseMargins(Uint8Array.of(0), undefined, 1), Float64Array.of(-10));
  const logs = baseMargins(Uint8Array.of(0, 0, 2, 2), undefined, 3);
  assert.ok(Math.abs((logs[0] as number) - Math.log(0.5)) < 1e-12);
  assert.equal(logs[1], -10);
});
