import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TEST_SEED } from '../support/seed.ts';
import { killTraining } from '../support/training-kills.ts';

test('a training killed six times comes to the very model, and leaves no plaintext', async (t) => {
  const result = await killTraining({ seed: TEST_SEED, kills: 6 });
  t.diagnostic(`seed ${TEST_SEED}: ${JSON.stringify(result)}`);
  assert.equal(result.kills, 6);
  assert.ok(result.finished > 1);
});
