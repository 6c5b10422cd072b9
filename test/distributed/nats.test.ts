import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectNats } from '../../src/bus/index.ts';
import { boost } from '../../src/training/boosting.ts';
import { DistributedTraining } from '../../src/training/distributed/distributed-training.ts';
import { SecureTraining } from '../../src/training/distributed/secure-training.ts';
import { type TrainingConfig, type TrainModelInput, trainDetector } from '../../src/training/index.ts';
import { startNats } from '../support/nats.ts';
import { requireTool } from '../support/requires.ts';
import { type SecureHouse, startMembers } from '../support/secure-house.ts';
import { makeSecureRun } from '../support/secure-run.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';
import { startWorkers } from '../support/training-workers.ts';

const config: Partial<TrainingConfig> = { method: 'trees', rounds: 2, maxLeaves: 8, treeRounds: 4 };
const input: TrainModelInput = {
  ...{ table: syntheticTable(2000, 5), schema: SYNTHETIC_SCHEMA, sourceKinds: ['table'], config, seed: 4 },
};

test('over NATS workers and members give the model of one process', async (t) => {
  if (!requireTool(t, 'nats-server')) return;
  const nats = await startNats();
  const buses = [
    await connectNats({ server: nats.server }),
    await connectNats({ server: nats.server }),
  ] as const;
  try {
    const { digest } = await trainDetector({ ...input, booster: boost });
    const house = await startWorkers(buses[0], 3, {
      onOrder: async (id, order, workers) => {
        if (id === 'w2' && order === 6) await workers.kill(id);
      },
    });
    const plain = new DistributedTraining({
      bus: buses[1],
      run: 'plain',
      workers: 3,
      answerMs: 1_000,
      waitMs: 10_000,
    });
    assert.equal((await trainDetector({ ...input, booster: plain.booster })).digest, digest);
    await plain.close();
    await house.close();

    const run = makeSecureRun(4);
    const secure = new SecureTraining({ bus: buses[1], roster: run.roster, minCellRows: 1 });
    let members: SecureHouse | undefined;
    const trained = await trainDetector({
      ...input,
      booster: async (bins, options) => {
        members = await startMembers(buses[0], run, bins);
        return await secure.booster(bins, options);
      },
    });
    assert.equal(trained.digest, digest);
    await secure.close();
    await members?.close();
  } finally {
    for (const bus of buses) await bus.close();
    await nats.close();
  }
});
