import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { gradientSums } from '../../../test/twins/plain-dense.ts';
import { SeededRandom } from '../../base/index.ts';
import { forwardNetwork, layerOutputs } from '../../models/index.ts';
import { addVector, readLoss } from '../distributed/answer.ts';
import { FIXED_POINT } from '../objective.ts';
import { fitAutoencoder } from './fit-autoencoder.ts';
import { type OpenGradients, PointShard } from './gradient-source.ts';
import {
  GRADIENT_STEPS,
  gradientLength,
  MAX_BATCH,
  newNetwork,
  packNetwork,
  parameterCount,
} from './network-gradients.ts';
import { NetworkKernel } from './network-kernel.ts';

function sumsOf(network: ReturnType<typeof newNetwork>, points: Float32Array, rows: number): Int32Array {
  const width = network[0]?.inputs ?? 0;
  const widths = [width, ...network.map(({ outputs }) => outputs)];
  const kernel = new NetworkKernel(widths, rows);
  kernel.load(packNetwork(network));
  for (let r = 0; r < rows; r++) kernel.setRow(r, points, r * width);
  const sums = new Int32Array(gradientLength(widths));
  kernel.addSums(rows, sums);
  return sums;
}

test('the gradient sums of the kernel are those of its plain form, to the last step', () => {
  const widths = fc.array(fc.integer({ min: 1, max: 19 }), { minLength: 1, maxLength: 3 });
  const wide = fc.constantFrom(1, 30, 1e6);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 21 }),
      widths,
      fc.integer({ min: 1, max: 13 }),
      fc.nat(),
      wide,
      (width, hidden, rows, seed, scale) => {
        const random = new SeededRandom(seed);
        const network = newNetwork([width, ...hidden, width], random);
        for (const { biases } of network) biases.set(biases.map(() => random.uniform(-1, 1)));
        const points = new Float32Array(rows * width).map(() => scale * random.normal());
        const sums = sumsOf(network, points, rows);
        assert.deepEqual(sums.subarray(0, -3), gradientSums(network, points, rows));
      },
    ),
    { seed: 31, numRuns: 150 },
  );
});

test('gradients of a network are those of finite differences', () => {
  const random = new SeededRandom(5);
  const network = newNetwork([4, 3, 2, 4], random);
  const rows = 3;
  const input = new Float32Array(rows * 4).map(() => random.uniform(-1, 1));
  const outputs = layerOutputs(network, rows);
  const loss = (): number => {
    forwardNetwork(network, input, rows, outputs);
    const answer = outputs.at(-1) as Float32Array;
    return answer.reduce((sum, y, i) => sum + (y - (input[i] as number)) ** 2, 0) / 2;
  };
  const sums = sumsOf(network, input, rows);
  const told = readLoss(sums.subarray(parameterCount([4, 3, 2, 4])));
  assert.equal(told.rows, rows);
  assert.ok(Math.abs(told.sum / FIXED_POINT - loss() / 2) < 1e-5);
  const step = 1 / 256;
  let at = 0;
  network.forEach((layer, l) => {
    for (const name of ['weights', 'biases'] as const) {
      for (let i = 0; i < layer[name].length; i++) {
        const before = layer[name][i] as number;
        layer[name][i] = before + step;
        const above = loss();
        layer[name][i] = before - step;
        const below = loss();
        layer[name][i] = before;
        const numeric = (above - below) / (2 * step);
        const exact = (sums[at++] as number) / GRADIENT_STEPS;
        assert.ok(
          Math.abs(numeric - exact) < 2e-2 * Math.max(1, Math.abs(exact)),
          `layer ${l} ${name} ${i}: ${exact} and ${numeric}`,
        );
      }
    }
  });
});

test('a sum over the largest batch of the largest gradients does not turn over, and no number counts as the largest', () => {
  const network = newNetwork([1, 1], new SeededRandom(1));
  network[0]?.weights.fill(2);
  const points = new Float32Array(MAX_BATCH).fill(1e30);
  const [weight = 0, bias = 0] = sumsOf(network, points, MAX_BATCH);
  assert.equal(weight, MAX_BATCH * 64 * GRADIENT_STEPS);
  assert.equal(bias, MAX_BATCH * 64 * GRADIENT_STEPS);
  const lost = sumsOf(network, Float32Array.of(Number.POSITIVE_INFINITY), 1);
  assert.ok(Math.abs(lost[0] as number) === 64 * GRADIENT_STEPS);
});

const OPTIONS = { hidden: [8, 2, 8], epochs: 60, batch: 32, learningRate: 0.01 };

function linePoints(rows: number): Float32Array {
  const random = new SeededRandom(6);
  const points = new Float32Array(rows * 4);
  for (let r = 0; r < rows; r++) {
    const x = random.uniform(-1, 1);
    points.set([x, -x, 2 * x, 0.5], r * 4);
  }
  return points;
}

test('an autoencoder learns what its points have in common, alike in every run', async () => {
  const points = linePoints(400);
  const losses: number[] = [];
  const onEpoch = ({ loss }: { loss: number }) => void losses.push(loss);
  const network = await fitAutoencoder(points, 4, { ...OPTIONS, onEpoch }, new SeededRandom(7));
  assert.deepEqual(await fitAutoencoder(points, 4, OPTIONS, new SeededRandom(7)), network);
  assert.equal(losses.length, 60);
  assert.ok((losses.at(-1) as number) < 0.05 * (losses[0] as number), `${losses[0]} to ${losses.at(-1)}`);
  const outputs = layerOutputs(network, 2);
  forwardNetwork(network, Float32Array.of(0.5, -0.5, 1, 0.5, 0.5, 0.5, -1, -2), 2, outputs);
  const answer = outputs.at(-1) as Float32Array;
  const error = (at: number, row: readonly number[]): number =>
    row.reduce((sum, x, d) => sum + (x - (answer[at + d] as number)) ** 2, 0);
  assert.ok(error(0, [0.5, -0.5, 1, 0.5]) < 0.05);
  assert.ok(error(4, [0.5, 0.5, -1, -2]) > 1);
});

test('however the points are cut into shards, and in whichever order these answer, the network is the same', async () => {
  const points = linePoints(150);
  const options = { ...OPTIONS, epochs: 3 };
  const whole = await fitAutoencoder(points, 4, options, new SeededRandom(7));
  for (const cuts of [
    [0, 150],
    [0, 1, 70, 150],
    [0, 20, 40, 60, 80, 100, 149, 150],
  ]) {
    const open: OpenGradients = async (all, plan) => {
      const shards = cuts
        .slice(1)
        .map((to, i) => new PointShard(all.slice((cuts[i] as number) * 4, to * 4), plan, cuts[i] as number))
        .reverse();
      return {
        sum: async (parameters, of) => {
          const sum = new Int32Array(gradientLength(plan.widths));
          for (const shard of shards) addVector(sum, shard.sum(parameters, of));
          return sum;
        },
        close: async () => {},
      };
    };
    assert.deepEqual(await fitAutoencoder(points, 4, { ...options, open }, new SeededRandom(7)), whole);
  }
});

test('an autoencoder that is broken off between batches lets its source go', async () => {
  let closed = 0;
  const open: OpenGradients = async (all, plan) => {
    const shard = new PointShard(all, plan);
    return { sum: async (parameters, of) => shard.sum(parameters, of), close: async () => void closed++ };
  };
  const turn = async () => {
    throw new Error('broken off');
  };
  await assert.rejects(fitAutoencoder(linePoints(1000), 4, { ...OPTIONS, open, turn }, new SeededRandom(7)), {
    message: 'broken off',
  });
  assert.equal(closed, 1);
});
