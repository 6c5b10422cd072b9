import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLeafSums, planScales, type RunPlan } from './run-plan.ts';

test('rounded leaf sums are refused where rows lie with others', () => {
  checkLeafSums({ leafSums: 'exact' });
  assert.throws(() => checkLeafSums({ leafSums: 'rounded' }), { code: 'training.config-invalid' });
});

test('rows that 32-bit sums or exact sums could not hold are refused', () => {
  const plan: RunPlan = {
    ...{ v: 1, run: 'r', columns: [], outputs: 1, bias: [0], maxWeight: 1024, gradientLevels: 15 },
    ...{ maxLeaves: 8, rowFraction: 1, seed: 1, rows: 2 ** 23 - 1, heldRows: 0, minCellRows: 1 },
  };
  planScales(plan);
  const refused = { code: 'training.message-refused' };
  assert.throws(() => planScales({ ...plan, rows: 2 ** 23 }), refused);
  assert.throws(() => planScales({ ...plan, rows: 2 ** 28, maxWeight: 1 }), refused);
});
