import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseMargin, FIXED_POINT, logisticGradients, logisticLoss, meanLogisticLoss } from './objective.ts';

test('gradient and hessian are the finite differences of the loss', () => {
  for (const label of [0, 1]) {
    for (const margin of [-6, -1.5, 0, 0.3, 4]) {
      for (const weight of [1, 0.05, 7]) {
        const g = new Int32Array(1);
        const h = new Int32Array(1);
        logisticGradients(Float64Array.of(margin), Uint8Array.of(label), Float32Array.of(weight), g, h);
        const e = 1e-4;
        const [below, here, above] = [margin - e, margin, margin + e].map(
          (m) => weight * logisticLoss(m, label),
        );
        const slope = ((above as number) - (below as number)) / (2 * e);
        const bend = ((above as number) - 2 * (here as number) + (below as number)) / (e * e);
        assert.ok(Math.abs((g[0] as number) / FIXED_POINT - slope) < 1e-5);
        assert.ok(Math.abs((h[0] as number) / FIXED_POINT - bend) < 1e-4);
      }
    }
  }
});

test('the loss does not overflow at extreme margins', () => {
  assert.equal(logisticLoss(800, 1), 0);
  assert.equal(logisticLoss(-800, 1), 800);
  assert.equal(meanLogisticLoss(new Float64Array(0), new Uint8Array(0)), 0);
});

test('the base margin is the log-odds of the weighted share, bounded where a class is absent', () => {
  assert.equal(baseMargin(Uint8Array.of(0, 1), undefined), 0);
  const odds = baseMargin(Uint8Array.of(0, 1), Float32Array.of(1, 3));
  assert.ok(Math.abs(odds - Math.log(3)) < 1e-12);
  assert.equal(baseMargin(Uint8Array.of(1), undefined), 10);
  assert.equal(baseMargin(Uint8Array.of(0), undefined), -10);
});
