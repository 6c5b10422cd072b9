import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { type Bus, BusError, MemoryBus } from '../../src/bus/index.ts';
import { encodeRows, fitBinning } from '../../src/training/binning.ts';
import { boost } from '../../src/training/boosting.ts';
import {
  DistributedTraining,
  type DistributionOptions,
} from '../../src/training/distributed/distributed-training.ts';
import {
  resolveTrainingConfig,
  type TrainingConfig,
  TrainingError,
  type TrainModelInput,
  trainDetector,
} from '../../src/training/index.ts';
import { mortalBus } from '../support/mortal-bus.ts';
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

const FAST = { leaseMs: 3_000, answerMs: 5_000, waitMs: 5_000 } as const;

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

test('a worker that dies in the middle loses its shards to the others', async () => {
  for (const order of [1, 2, 5, 17]) {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, 3, {
      onOrder: async (id, count, workers) => {
        if (id === 'w1' && count === order) await workers.kill(id);
      },
    });
    let lost = 0;
    const onProgress = ({ aggregation }: { aggregation?: { lost: number } }) => {
      lost = aggregation?.lost ?? 0;
    };
    const trained = await trainOn(bus, 3, { onProgress, answerMs: 400 });
    assert.equal(trained.digest, local.digest);
    assert.equal(lost, 1);
    await house.close();
  }
});

test('an answer that comes after its lease was lost is refused', async () => {
  const bus = new MemoryBus();
  const house = await startWorkers(bus, 2, {
    onOrder: async (id, count) => {
      if (id === 'w0' && count === 4) await new Promise((resolve) => setTimeout(resolve, 600));
    },
  });
  const trained = await trainOn(bus, 2, { answerMs: 300 });
  assert.equal(trained.digest, local.digest);
  await house.close();
});

test('a worker that joins takes shards over between two trees', async () => {
  const bus = new MemoryBus();
  const house = await startWorkers(bus, 1);
  let most = 0;
  const onProgress = ({ round, aggregation }: { round: number; aggregation?: { workers: number } }) => {
    most = Math.max(most, aggregation?.workers ?? 0);
    if (round === 1) void house.add('w9');
  };
  const trained = await trainOn(bus, 1, { shards: 4, onProgress });
  assert.equal(trained.digest, local.digest);
  assert.equal(most, 2);
  await house.close();
});

test('several classes, weights and samples come out the same', async () => {
  const table = syntheticTable(1500, 6);
  const rows = Uint32Array.from(table.labels.keys());
  const binning = fitBinning(table.values, table.columns, rows, [0, 0, 6, 0, 0], 32);
  const random = new SeededRandom(2);
  const training = {
    binned: encodeRows(binning, table.values, table.columns, rows),
    labels: Uint8Array.from(table.typeIndex),
    weights: Float32Array.from(rows, () => random.uniform(0, 3)),
  };
  const config = resolveTrainingConfig({ rounds: 3, maxLeaves: 8, rowFraction: 0.6, featureFraction: 0.7 });
  const options = { config, seed: 9, classes: 3, validation: training };
  const bus = new MemoryBus();
  const house = await startWorkers(bus, 3, {
    onOrder: async (id, count, workers) => {
      if (id === 'w2' && count === 12) await workers.kill(id);
    },
  });
  const distributed = new DistributedTraining({ bus, run: 'test', workers: 3, ...FAST, answerMs: 400 });
  assert.deepEqual(await distributed.booster(training, options), await boost(training, options));
  await distributed.close();
  await house.close();
});

test('a coordinator that dies at any call is followed by one that ends with the same model', async () => {
  const config = { ...CONFIG, rounds: 2, maxLeaves: 4, treeRounds: 3 };
  const expected = (await trainDetector(input(config))).digest;
  const once = async (bus: Bus) => {
    const training = new DistributedTraining({ bus, run: 'test', workers: 2, ...FAST, leaseMs: 250 });
    try {
      return await trainDetector({ ...input(config), booster: training.booster });
    } finally {
      training.abandon();
    }
  };
  let calls = Number.POSITIVE_INFINITY;
  for (let after = 0; after < calls; after++) {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, 2);
    if (calls === Number.POSITIVE_INFINITY) {
      const counted = mortalBus(bus, calls);
      await once(counted.bus);
      calls = counted.calls();
      await house.close();
      continue;
    }
    let trained = await once(mortalBus(bus, after).bus).catch((error: unknown) => {
      if (error instanceof BusError || error instanceof TrainingError) return undefined;
      throw error;
    });
    // On a machine that is busy a lease may run out by itself: then another one follows.
    while (trained === undefined) {
      trained = await once(bus).catch((error: unknown) => {
        if (error instanceof TrainingError && error.code === 'training.lease-lost') return undefined;
        throw error;
      });
    }
    assert.equal(trained.digest, expected, `died after ${after} of ${calls} calls`);
    await house.close();
  }
});

test('no worker: a clear error', async () => {
  await assert.rejects(trainOn(new MemoryBus(), 1, { waitMs: 50 }), (error) => {
    return error instanceof TrainingError && error.code === 'training.workers-missing';
  });
});
