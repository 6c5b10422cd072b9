import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { type Bus, MemoryBus } from '../../src/bus/index.ts';
import {
  DistributedTraining,
  type DistributionOptions,
} from '../../src/training/distributed/distributed-training.ts';
import {
  encodePoints,
  NetworkShard,
  networkPlanSchema,
  packParameters,
} from '../../src/training/distributed/network-shard.ts';
import type { Question } from '../../src/training/distributed/operation.ts';
import { fitAutoencoder } from '../../src/training/hybrid/fit-autoencoder.ts';
import { parameterCount } from '../../src/training/hybrid/network-gradients.ts';
import { type TrainingConfig, type TrainModelInput, trainDetector } from '../../src/training/index.ts';
import { mortalBus } from '../support/mortal-bus.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';
import { startWorkers } from '../support/training-workers.ts';

const HYBRID = {
  ...{ known: { rounds: 2, maxLeaves: 6 }, draws: 1, normals: 300, attacksPerType: 20 },
  ...{ forestTrees: 4, forestSample: 64, autoencoder: [6, 3, 6], autoencoderEpochs: 3 },
};
const input: TrainModelInput = {
  table: syntheticTable(1200, 5),
  schema: SYNTHETIC_SCHEMA,
  sourceKinds: ['table'],
  config: { rounds: 2, maxLeaves: 6, hybrid: HYBRID } as unknown as Partial<TrainingConfig>,
  seed: 4,
};
const FAST = { leaseMs: 3_000, answerMs: 5_000, waitMs: 5_000 } as const;
const local = await trainDetector(input);

for (const count of [1, 3, 7]) {
  test(`${count} workers give the hybrid of one process`, async () => {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, count);
    const training = new DistributedTraining({ bus, run: 'test', workers: count, ...FAST });
    const epochs: number[] = [];
    const trained = await trainDetector({
      ...input,
      booster: training.booster,
      detectors: {
        gradients: training.gradients,
        onEpoch: ({ epoch }) => void epochs.push(epoch),
      },
    });
    await training.close();
    await house.close();
    assert.equal(trained.digest, local.digest);
    assert.deepEqual(epochs, [1, 2, 3]);
  });
}

test('two threads give the hybrid of one', async () => {
  assert.equal((await trainDetector({ ...input, threads: 2 })).digest, local.digest);
});

const POINTS = (() => {
  const random = new SeededRandom(3);
  return new Float32Array(90 * 5).map(() => random.normal());
})();
const NETWORK = { hidden: [4, 2, 4], epochs: 2, batch: 32, learningRate: 0.01 };
const alone = await fitAutoencoder(POINTS, 5, NETWORK, new SeededRandom(1));

function fitOn(bus: Bus, workers: number, options: Partial<DistributionOptions> = {}) {
  const training = new DistributedTraining({ bus, run: 'test', workers, ...FAST, ...options });
  const fitted = fitAutoencoder(POINTS, 5, { ...NETWORK, open: training.gradients }, new SeededRandom(1));
  return fitted.finally(() => training.abandon());
}

test('a worker that dies within an epoch loses its points to the others', async () => {
  for (const order of [1, 2, 5]) {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, 3, {
      onOrder: async (id, count, workers) => {
        if (id === 'w1' && count === order) await workers.kill(id);
      },
    });
    assert.deepEqual(await fitOn(bus, 3, { answerMs: 400 }), alone, `order ${order}`);
    await house.close();
  }
});

test('a coordinator that dies within an epoch is followed by one that ends with the same network', async () => {
  for (const calls of [2, 5, 9]) {
    const bus = new MemoryBus();
    const house = await startWorkers(bus, 2);
    const { bus: mortal } = mortalBus(bus, calls);
    await assert.rejects(fitOn(mortal, 2, { leaseMs: 250 }));
    assert.deepEqual(await fitOn(bus, 2, { leaseMs: 250 }), alone, `${calls} calls`);
    await house.close();
  }
});

test('points and questions that do not fit the plan are refused', async () => {
  const widths = [5, 4, 5];
  const plan = networkPlanSchema.parse({
    ...{ v: 1, kind: 'network', run: 'r', widths, rows: 90, batch: 32, seed: 1 },
  });
  const points = POINTS.subarray(0, 50);
  const unfit = points.slice();
  unfit[7] = Number.NaN;
  const open = (given: Float32Array, first = 0, of = plan) =>
    new NetworkShard(of, encodePoints(given, first, 5));
  const refused = { code: 'training.message-refused' };
  assert.throws(() => open(unfit), refused);
  assert.throws(() => open(points, 81), refused);
  assert.throws(() => open(points, 0, { ...plan, widths: [5, 4, 6] }), refused);
  assert.throws(() => open(points, 0, { ...plan, widths: [4, 4, 4] }), refused);
  assert.throws(() => open(points, 0, { ...plan, widths: [5, 60_000, 60_000, 5] }), refused);
  assert.throws(() => new NetworkShard(plan, encodePoints(points, 0, 5).subarray(0, -4)), refused);
  const shard = open(points);
  const parameters = packParameters(new Float32Array(parameterCount(widths)));
  const good: Question = { kind: 'gradients', epoch: 0, batch: 2, parameters };
  assert.equal((await shard.ask(good)).length, parameterCount(widths) + 3);
  for (const question of [
    { ...good, batch: 3 },
    { ...good, parameters: packParameters(new Float32Array(7)) },
    { kind: 'loss' },
  ] satisfies Question[]) {
    await assert.rejects(shard.ask(question), refused);
  }
  await assert.rejects(shard.tell({ kind: 'start-round', round: 0 }), refused);
});
