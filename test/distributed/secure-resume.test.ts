import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusError, MemoryBus } from '../../src/bus/index.ts';
import { encodeRows, fitBinning } from '../../src/training/binning.ts';
import { boost } from '../../src/training/boosting.ts';
import { resolveTrainingConfig } from '../../src/training/config.ts';
import { SecureTraining } from '../../src/training/distributed/secure-training.ts';
import { TrainingError } from '../../src/training/index.ts';
import { mortalBus } from '../support/mortal-bus.ts';
import { startMembers } from '../support/secure-house.ts';
import { makeSecureRun } from '../support/secure-run.ts';
import { syntheticTable } from '../support/synthetic-table.ts';

test('of several classes too, a coordinator that dies in a round is followed by one that ends alike', async () => {
  const table = syntheticTable(900, 5);
  const rows = Uint32Array.from(table.labels.keys());
  const binning = fitBinning(table.values, table.columns, rows, [0, 0, 6, 0, 0], 32);
  const binned = encodeRows(binning, table.values, table.columns, rows);
  const training = { binned, labels: Uint8Array.from(table.typeIndex) };
  const options = {
    config: resolveTrainingConfig({ rounds: 2, maxLeaves: 6, treeRounds: 3, patience: 0 }),
    ...{ seed: 4, classes: 3, validation: training },
  };
  const local = await boost(training, options);
  const bus = new MemoryBus();
  const run = makeSecureRun(4);
  const house = await startMembers(bus, run, training);
  let deaths = 0;
  // Each coordinator gets a little further, and dies in another tree of a round.
  for (let after = 30; ; after += 11) {
    const dying = mortalBus(bus, after);
    const secure = new SecureTraining({
      ...{ bus: dying.bus, roster: run.roster, minCellRows: 1 },
      ...{ answerMs: 5_000, leaseMs: 200, waitMs: 20_000 },
    });
    try {
      const grown = await secure.booster(training, options);
      assert.deepEqual(grown.trees, local.trees);
      assert.equal(secure.record?.participants.length, 1 + 2 * 3);
      break;
    } catch (error) {
      const isDeath =
        error instanceof BusError || (error instanceof TrainingError && error.code === 'training.lease-lost');
      if (!isDeath) throw error;
      deaths++;
    }
  }
  assert.ok(deaths > 3, `${deaths} deaths`);
  await house.close();
});
