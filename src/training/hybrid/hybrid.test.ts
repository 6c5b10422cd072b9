import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomEnsemble, randomRows } from '../../../test/support/random-model.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../../test/support/synthetic-table.ts';
import { SeededRandom } from '../../base/index.ts';
import { calibrate, decodeModel, sumMargins, type TreeEnsemble, tailLevel } from '../../models/index.ts';
import type { TrainingConfig } from '../config.ts';
import { evaluateModel } from '../evaluate.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import { leaveTypesOut } from '../leave-types-out.ts';
import { trainDetector } from '../train-detector.ts';
import { replaceBlocks } from './block-replacement.ts';
import { featureBlocks } from './feature-blocks.ts';
import { fitEncoding } from './fit-encoding.ts';
import { fitForest } from './fit-forest.ts';
import { fitTail } from './fit-tail.ts';
import { meanEnsemble } from './merge-ensembles.ts';

const SMALL = {
  rounds: 20,
  maxLeaves: 8,
  hybrid: {
    draws: 2,
    known: { rounds: 20, maxLeaves: 8 },
    normals: 300,
    attacksPerType: 20,
    forestTrees: 20,
    forestSample: 64,
    autoencoder: [6, 3, 6],
    autoencoderEpochs: 3,
  },
} as unknown as Partial<TrainingConfig>;

function train(table: LabelledTable, config: Partial<TrainingConfig> = {}) {
  return trainDetector({
    table,
    schema: SYNTHETIC_SCHEMA,
    sourceKinds: ['table'],
    config: { ...SMALL, ...config },
    seed: 3,
  });
}

test('a point by itself is isolated sooner than one among many', async () => {
  const random = new SeededRandom(8);
  const points = new Float32Array(500 * 3).map(() => random.normal());
  const forest: TreeEnsemble = await fitForest(points, 3, { trees: 50, sample: 128 }, random);
  const [inside = 0, outside = 0] = sumMargins(forest, 0, Float32Array.of(0, 0, 0, 6, 6, 6), 2);
  assert.ok(outside > inside + 2, `${inside} and ${outside}`);
  const equal = await fitForest(new Float32Array(30).fill(1), 3, { trees: 2, sample: 8 }, random);
  assert.equal(equal.child.length, 2);
});

test('a level is minus the logarithm of the share that scores as high', () => {
  const scores = Float32Array.from({ length: 2000 }, (_, i) => i);
  const tail = fitTail(scores);
  for (const score of [0, 500, 1000, 1900]) {
    const expected = -Math.log((2000 - score + 1) / 2001);
    assert.ok(Math.abs(tailLevel(tail, score, 50) - expected) < 0.02, `${score}`);
  }
  assert.ok(tailLevel(tail, 2500, 50) > tailLevel(tail, 1999, 50) + 5);
  assert.equal(tailLevel(fitTail([]), 5, 50), 0);
  assert.ok(tailLevel(fitTail([1, 1, 1]), 2, 50) > 0);
});

test('columns that vary together are replaced together', () => {
  const random = new SeededRandom(9);
  const rows = 500;
  const values = new Float32Array(rows * 5);
  for (let r = 0; r < rows; r++) {
    const x = random.uniform(0, 1);
    values.set([x, random.uniform(0, 1), random.integer(0, 5), -(x ** 3), Number.NaN], r * 5);
  }
  const table = { rows, columns: 5, values } as unknown as LabelledTable;
  const all = Uint32Array.from({ length: rows }, (_, r) => r);
  const blocks = featureBlocks(table, all, [0, 0, 6, 0, 0]);
  assert.deepEqual(blocks, [[0, 3], [1], [2], [4]]);
  const made = replaceBlocks(values, 5, all, blocks, 300, random);
  let changed = 0;
  for (let i = 0; i < 300; i++) {
    const x = made[i * 5] as number;
    const origin = [...all].find((r) => values[r * 5] === x) as number;
    assert.equal(made[i * 5 + 3], values[origin * 5 + 3]);
    if (values[origin * 5 + 1] !== made[i * 5 + 1]) changed++;
  }
  assert.ok(changed > 100 && changed < 250, String(changed));
});

test('frequent categories get slots, rare ones share one', () => {
  const values = Float32Array.from({ length: 2000 }, (_, i) => Math.floor(Math.sqrt(i)) % 40);
  const table = { rows: 2000, columns: 1, values } as unknown as LabelledTable;
  const rows = Uint32Array.from(values.keys());
  assert.equal(fitEncoding(table, rows, [40], { categoryScale: 1 }).slotCounts[0], 10);
  const few = { ...table, values: values.map((x) => x % 4) };
  assert.equal(fitEncoding(few, rows, [40], { categoryScale: 1 }).slotCounts[0], 4);
});

test('the mean of ensembles has the mean of their margins', () => {
  const random = new SeededRandom(10);
  const ensembles = [0, 1, 2].map(() => randomEnsemble(random, 3, 4));
  const rows = randomRows(random, 30);
  const mean = sumMargins(meanEnsemble(ensembles), 0, rows, 30);
  const each = ensembles.map((ensemble) => sumMargins(ensemble, 0, rows, 30));
  for (let r = 0; r < 30; r++) {
    const expected = each.reduce((sum, margins) => sum + (margins[r] as number) / 3, 0);
    assert.ok(Math.abs((mean[r] as number) - expected) < 1e-6);
  }
});

test('a hybrid is the same in every run, survives its file and keeps to its false positive rates', async () => {
  const table = syntheticTable(4000, 1);
  const first = await train(table);
  assert.equal((await train(table)).digest, first.digest);
  const fresh = syntheticTable(2000, 2);
  const { probability, metrics } = evaluateModel(first.model, fresh);
  assert.deepEqual(evaluateModel(decodeModel(first.modelBytes), fresh).probability, probability);
  assert.ok(metrics.auc.value > 0.9, String(metrics.auc.value));
  const [balanced, quiet] = first.model.operatingPoints;
  assert.ok((balanced?.threshold ?? 1) < (quiet?.threshold ?? 0));
  assert.equal(first.threshold, balanced?.threshold);
  assert.ok(evaluateModel(first.model, first.held).metrics.fpr.value <= 0.02);
  assert.equal(first.provenance.configuration.method, 'hybrid');
  assert.equal(first.provenance.trainer, 'ai-guardian hybrid 4');
});

test('an attack of a kind that training never saw is found where trees alone miss it', async () => {
  const table = syntheticTable(4000, 4);
  const values = table.values.slice();
  // Normal traffic keeps b near a; what is unseen breaks that without leaving either's range.
  for (let r = 0; r < table.rows; r++)
    if (table.labels[r] === 0) values[r * 5 + 3] = values[r * 5 + 1] as number;
  const known = { ...table, values };
  const unseen = selectRows(
    known,
    [...table.labels.keys()].filter((r) => table.labels[r] === 0).slice(0, 500),
  );
  for (let r = 0; r < unseen.rows; r++) unseen.values[r * 5 + 3] = -3 * (unseen.values[r * 5 + 1] as number);
  const labelled = { ...unseen, labels: new Uint8Array(unseen.rows).fill(1) };
  const recall = async (method: 'hybrid' | 'trees'): Promise<number> => {
    const { model } = await train(known, {
      method,
      thresholdPolicy: { kind: 'fpr', target: 0.02 },
      // Of few columns none repeats what another says, so distance counts for more; few held-out rows cannot judge it.
      hybrid: {
        ...SMALL.hybrid,
        weights: { distance: 3 },
        normals: 3000,
        tolerance: 1,
      } as TrainingConfig['hybrid'],
    });
    return evaluateModel(model, labelled).metrics.recall.value;
  };
  const [hybrid, trees] = [await recall('hybrid'), await recall('trees')];
  assert.ok(hybrid > trees + 0.1, `${hybrid} and ${trees}`);
});

test('where attacks are like the known ones and wariness costs, larger trees serve, and nothing else counts', async () => {
  const wary = { weights: { distance: 100 }, exposure: 4, exposureWeight: 1, tolerance: 0 };
  const hybrid = { ...SMALL.hybrid, ...wary } as TrainingConfig['hybrid'];
  const { model } = await train(syntheticTable(4000, 1), { hybrid });
  assert.deepEqual(model.parts.novelty?.weights, { distance: 0, isolation: 0, reconstruction: 0 });
  assert.equal(model.parts.detector.roots.length, 20);
  const even = calibrate(model.parts.calibration, 0);
  for (const { threshold } of model.operatingPoints) assert.ok(threshold >= even);
});

test('whole categories are left out, services thinned, and both operating points measured', async () => {
  const table = syntheticTable(3000, 1);
  const input = { table, schema: SYNTHETIC_SCHEMA, config: SMALL, seed: 4, folds: 2 };
  const categoryOf = { flood: 'noisy', tunnel: 'quiet' };
  const { folds } = await leaveTypesOut({ ...input, categoryOf, thinned: { column: 'service', keep: 0 } });
  assert.deepEqual(
    folds.map(({ types }) => types),
    [['flood'], ['tunnel']],
  );
  for (const { points, trainRows } of folds) {
    assert.ok(trainRows < table.rows);
    assert.deepEqual(
      points.map(({ name }) => name),
      ['balanced', 'quiet'],
    );
    assert.ok((points[0]?.metrics.recall.value ?? 0) >= (points[1]?.metrics.recall.value ?? 1));
  }
  await assert.rejects(leaveTypesOut({ ...input, categoryOf: { flood: 'noisy' } }), {
    code: 'training.table-invalid',
  });
  await assert.rejects(leaveTypesOut({ ...input, thinned: { column: 'colour', keep: 0 } }), {
    code: 'training.config-invalid',
  });
});

test('rows of one label are refused', async () => {
  const table = syntheticTable(500, 1);
  const benign = selectRows(
    table,
    [...table.labels.keys()].filter((r) => table.labels[r] === 0),
  );
  await assert.rejects(train(benign), { code: 'training.too-few-rows' });
});
