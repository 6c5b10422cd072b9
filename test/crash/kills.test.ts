import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killRegistry } from '../support/kills.ts';
import { TEST_SEED } from '../support/seed.ts';

test('a live registry killed ten times has what it acknowledged, and the rest wholly or not', async (t) => {
  const result = await killRegistry({ seed: TEST_SEED, kills: 10, lanes: 2 });
  t.diagnostic(`seed ${TEST_SEED}: ${JSON.stringify(result)}`);
  assert.equal(result.kills, 10);
  assert.ok(result.acknowledged > 0);
});
