import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLeafSums } from './run-plan.ts';

test('rounded leaf sums are refused where rows lie with others', () => {
  checkLeafSums({ leafSums: 'exact' });
  assert.throws(() => checkLeafSums({ leafSums: 'rounded' }), { code: 'training.config-invalid' });
});
