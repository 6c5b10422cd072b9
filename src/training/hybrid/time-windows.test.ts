import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../../test/support/synthetic-table.ts';
import { SeededRandom } from '../../base/index.ts';
import type { BoostedModelParts } from '../../models/index.ts';
import { resolveTrainingConfig, type TrainingConfig } from '../config.ts';
import type { LabelledTable } from '../labelled-table.ts';
import { trainDetector } from '../train-detector.ts';
import { trainModel } from '../train-model.ts';
import { cutByTime, exposureCost } from './time-windows.ts';

const SMALL = {
  rounds: 10,
  maxLeaves: 8,
  hybrid: {
    draws: 2,
    known: { rounds: 15, maxLeaves: 8 },
    windows: { rounds: 5 },
    normals: 300,
    attacksPerType: 20,
    forestTrees: 5,
    forestSample: 32,
    autoencoder: [6, 3, 6],
    autoencoderEpochs: 1,
    tolerance: 1,
  },
} as unknown as Partial<TrainingConfig>;

function timed(rows: number): LabelledTable {
  const table = syntheticTable(rows, 1);
  return { ...table, times: Float64Array.from(table.labels, (_, r) => (r * 7919) % rows) };
}

function train(table: LabelledTable, hybrid: object) {
  const config = { ...SMALL, hybrid: { ...SMALL.hybrid, ...hybrid } } as Partial<TrainingConfig>;
  return trainDetector({ table, schema: SYNTHETIC_SCHEMA, sourceKinds: ['table'], config, seed: 3 });
}

test('pieces follow one another in time, and every row is in one', () => {
  const times = Float64Array.of(5, 1, 3, 3, 9, 0, 2);
  const pieces = cutByTime(Uint32Array.of(0, 1, 2, 3, 4, 5), times, 3);
  assert.deepEqual(
    pieces.map((piece) => [...piece]),
    [
      [1, 5],
      [2, 3],
      [0, 4],
    ],
  );
});

/** What exposure costs when these models stand for plain and for exposed trees; the rows that each run was given. */
async function costOf(table: LabelledTable, models: readonly BoostedModelParts[]) {
  const runs: LabelledTable[] = [];
  const cost = await exposureCost({
    ...{ table, schema: SYNTHETIC_SCHEMA, config: resolveTrainingConfig(SMALL), random: new SeededRandom(1) },
    rows: Uint32Array.from(table.labels.keys()),
    train: async (run, given) => {
      assert.equal(runs.push(given), run + 1);
      return models[run % 2] as BoostedModelParts;
    },
  });
  return { cost, runs };
}

test('the cost is that of trees that end before the window, and 0 where no window has enough rows', async () => {
  const table = timed(4000);
  const { model } = await trainModel({
    ...{ table, schema: SYNTHETIC_SCHEMA, sourceKinds: [], seed: 1 },
    config: { rounds: 20, maxLeaves: 8 },
  });
  const { bias, detector } = model.parts;
  const reversed = { ...detector, value: detector.value.map((x, i) => (detector.child[i] === 0 ? -x : x)) };
  const worse = { ...model.parts, bias: -bias, detector: reversed };
  const costly = await costOf(table, [model.parts, worse]);
  assert.ok(costly.cost > 0.3, String(costly.cost));
  assert.equal((await costOf(table, [model.parts, model.parts])).cost, 0);
  assert.equal((await costOf(table, [worse, model.parts])).cost, 0);
  const plain = costly.runs.filter((_, run) => run % 2 === 0);
  assert.deepEqual(
    plain.map(({ times = [] }) => times.length && Math.max(...times)),
    [999, 1999, 2999],
  );
  assert.ok(costly.runs[1]?.typeNames.includes('made up'));
  assert.equal((await costOf(timed(300), [model.parts, worse])).runs.length, 0);
});

test('where exposure cost too much in any window the trees without it serve alone, and no round is left out', async () => {
  const table = timed(4000);
  const costly = { exposure: 4, exposureWeight: 1, windows: { rounds: 5, tolerance: 0 } };
  const rounds: [number, number][] = [];
  const { model, digest } = await trainDetector({
    ...{ table, schema: SYNTHETIC_SCHEMA, sourceKinds: ['table'], seed: 3 },
    config: { ...SMALL, hybrid: { ...SMALL.hybrid, ...costly } } as Partial<TrainingConfig>,
    onProgress: ({ round, rounds: all }) => {
      rounds.push([round, all]);
    },
  });
  assert.equal(model.parts.detector.roots.length, 15);
  assert.deepEqual(model.parts.novelty?.weights, { distance: 0, isolation: 0, reconstruction: 0 });
  assert.deepEqual(rounds.at(-1), [45, 45]);
  assert.deepEqual(
    rounds.map(([round]) => round),
    Array.from({ length: 45 }, (_, i) => i + 1),
  );
  assert.equal((await train(table, costly)).digest, digest);
  const cheap = await train(table, { ...costly, windows: { rounds: 5, tolerance: 1 } });
  assert.equal(cheap.model.parts.detector.roots.length, 20);
});

test('without times, and with no window, nothing is measured', async () => {
  const table = timed(1500);
  const { times: _, ...untimed } = table;
  const windows = { rounds: 5, tolerance: 0 };
  assert.equal(
    (await train(untimed, { windows })).digest,
    (await train(untimed, { windows: { count: 0 } })).digest,
  );
  assert.equal(
    (await train(table, { windows: { ...windows, count: 0 } })).model.parts.detector.roots.length,
    20,
  );
});
