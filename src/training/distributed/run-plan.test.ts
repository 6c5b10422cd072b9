import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLeafSums, planBinning, planScales, type RunPlan } from './run-plan.ts';

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

test('a plan names each column once: one named over and over would take the memory of many', () => {
  const at = (column: number) => ({ column, bins: 3, cuts: [0] });
  const plan = (...columns: number[]) => ({ columns: columns.map(at) }) as unknown as RunPlan;
  assert.equal(planBinning(plan(0, 2, 3)).columns.length, 3);
  for (const columns of [
    [0, 0],
    [1, 0],
  ]) {
    assert.throws(() => planBinning(plan(...columns)), { code: 'training.message-refused' });
  }
});
