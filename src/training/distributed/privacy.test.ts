import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPrivacy, PrivacyLedger } from './privacy.ts';
import type { RunPlan } from './run-plan.ts';

test('noise is refused where its bound would not hold', () => {
  const invalid = { code: 'training.config-invalid' };
  checkPrivacy({ noise: 1, delta: 1e-5 }, 1);
  assert.throws(() => checkPrivacy({ noise: 1, delta: 1e-5 }, 5), invalid, 'cells are joined by rows');
  for (const noise of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => checkPrivacy({ noise, delta: 1e-5 }, 1), invalid);
  }
  for (const delta of [0, 1, Number.NaN]) assert.throws(() => checkPrivacy({ noise: 1, delta }, 1), invalid);
});

test('a run that goes on has spent what its trees rest on', () => {
  const plan: RunPlan = {
    ...{ v: 1, run: 'r', columns: [], outputs: 1, bias: [0], maxWeight: 1, gradientLevels: 15 },
    ...{ maxLeaves: 8, rowFraction: 1, seed: 1, rows: 100, heldRows: 0, minCellRows: 1 },
  };
  const ledger = new PrivacyLedger({ noise: 2, delta: 1e-5 }, plan, 7);
  ledger.noiseLabels(new Int32Array(4));
  assert.equal(ledger.sums, 8);
  assert.equal(ledger.spent().rho, 1);
});
