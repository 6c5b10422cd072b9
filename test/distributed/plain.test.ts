import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBus } from '../../src/bus/index.ts';
import {
  DistributedTraining,
  type DistributionOptions,
} from '../../src/training/distributed/distributed-training.ts';
import { type TrainingConfig, type TrainModelInput, trainDetector } from '../../src/training/index.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';
import { startWorkers } from '../support/training-workers.ts';

const CONFIG: Partial<TrainingConfig> = { method: 'trees', rounds: 6, maxLeaves: 12, patience: 3 };

const input = (config = CONFIG): TrainModelInput => ({
  table: syntheticTable(3000, 5),
  schema: SYNTHETIC_SCHEMA,
  sourceKinds: ['table'],
  config,
  seed: 4,
});

const FAST = { leaseMs: 400, answerMs: 5_000, waitMs: 5_000 } as const;

async function trainOn(
  bus: MemoryBus,
  workers: number,
  more: Partial<DistributionOptions> & {
    readonly config?: Partial<TrainingConfig>;
    readonly onProgress?: TrainModelInput['onProgress'];
  } = {},
) {
  const { config, onProgress, ...options } = more;
  const training = new DistributedTraining({ bus, run: 'test', workers, ...FAST, ...options });
  try {
    return await trainDetector({
      ...input(config),
      booster: training.booster,
      ...(onProgress && { onProgress }),
    });
  } finally {
    await training.close();
  }
}

const local = await trainDetector(input());

test('two threads give the model of one', async () => {
  assert.equal((await trainDetector({ ...input(), threads: 2 })).digest, local.digest);
});

for (const count of [1, 3, 7]) {
  test(`${count} workers give the model of one process`, async () => {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, count);
    const trained = await trainOn(bus, count);
    assert.equal(trained.digest, local.digest);
    assert.deepEqual(trained.validationLoss, local.validationLoss);
    await house.close();
  });
}
