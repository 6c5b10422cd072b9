import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireData } from '../../test/support/requires.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../test/support/synthetic-table.ts';
import { ManualClock, SeededRandom } from '../base/index.ts';
import { loadSchema, readTable } from '../features/index.ts';
import { decodeModel } from '../models/index.ts';
import { resolveTrainingConfig, type TrainingConfig } from './config.ts';
import { TrainingError } from './errors.ts';
import { evaluateModel } from './evaluate.ts';
import { type GateInputs, medianLatencyUs, runGates } from './gates.ts';
import { type LabelledTable, selectRows } from './labelled-table.ts';
import { assignFolds, leaveTypesOut } from './leave-types-out.ts';
import { trainStump } from './stump.ts';
import { chooseThreshold } from './threshold.ts';
import { trainModel } from './train-model.ts';

const TABLE = syntheticTable(6000, 1);
const TEST = syntheticTable(3000, 2);
const CATEGORIES = [0, 0, 6, 0, 0];
const QUICK = { rounds: 60, learningRate: 0.2, maxLeaves: 15 } as const;

function train(
  config: Partial<TrainingConfig> = {},
  more: { blockRows?: number; threads?: number; table?: LabelledTable } = {},
) {
  const { table = TABLE, blockRows, threads } = more;
  return trainModel({
    table,
    schema: SYNTHETIC_SCHEMA,
    sourceKinds: ['table'],
    config: { ...QUICK, ...config },
    seed: 11,
    ...(blockRows !== undefined && { blockRows }),
    ...(threads !== undefined && { threads }),
  });
}

function refused(code: string) {
  return (error: unknown): boolean => error instanceof TrainingError && error.code === code;
}

test('a trained model beats every stump on rows it has not seen, and its file scores alike', async () => {
  const result = await train();
  const stump = trainStump(TEST, { categories: CATEGORIES });
  const { metrics, rows, attacks } = evaluateModel(result.model, TEST);
  assert.equal(rows, 3000);
  assert.ok(attacks > 0 && attacks < rows);
  assert.ok(
    metrics.accuracy.value > stump.accuracy + 0.15,
    `${metrics.accuracy.value} and ${stump.accuracy}`,
  );
  assert.ok(metrics.auc.value > 0.95);
  const again = evaluateModel(decodeModel(result.modelBytes), TEST);
  assert.deepEqual(again.probability, evaluateModel(result.model, TEST).probability);
  assert.deepEqual(result.provenance.configuration, result.config);
  assert.equal(result.provenance.dataDigest, TABLE.digest);
  assert.ok(result.rows.train + result.rows.validation + result.rows.calibration === result.rows.given);
});

test('two runs give the same bytes; neither threads nor the blocks of the histogram sums matter', async () => {
  const config = { kinds: true, kindRounds: 5, rowFraction: 0.7, featureFraction: 0.7 };
  const first = await train(config);
  for (const more of [{}, { blockRows: 1 }, { threads: 2 }, { blockRows: 333, threads: 3 }]) {
    const { digest } = await train(config, more);
    assert.equal(digest, first.digest);
  }
  assert.notEqual((await train({ ...config, learningRate: 0.1 })).digest, first.digest);
});

test('the model is the same to the bit as on the machine where this was written', async () => {
  const { digest } = await train({ kinds: true, rounds: 20, kindRounds: 5 });
  assert.equal(digest, 'sha256:7d2e8777ed1d63d5d0e7e54343e00d9b805feb91f5180f222c2247a651da9ce2');
});

test('training stops early and keeps the trees up to the lowest validation loss', async () => {
  const result = await train({ rounds: 400, learningRate: 0.5, patience: 5 });
  assert.ok(result.rounds < 400);
  const loss = result.validationLoss;
  assert.equal(loss.indexOf(Math.min(...loss)) + 1, result.rounds);
  assert.equal(loss.length, result.rounds + 5);
});

test('attack rows are named by kind', async () => {
  const { model } = await train({ kinds: true });
  assert.deepEqual(model.kinds, ['flood', 'tunnel']);
  const { kinds } = evaluateModel(model, TEST);
  for (const { kind, recall, precision } of kinds) {
    assert.ok((recall?.value ?? 0) > 0.6, `${kind}: recall ${recall?.value}`);
    assert.ok((precision?.value ?? 0) > 0.6, `${kind}: precision ${precision?.value}`);
  }
  assert.deepEqual((await train({ kinds: true, minKindRows: 100_000 })).model.kinds, []);
});

test('a missing value goes the way that training learned', async () => {
  const random = new SeededRandom(3);
  const rows = 1000;
  const values = new Float32Array(rows * 5).map(() => random.normal());
  const labels = Uint8Array.from({ length: rows }, (_, r) => r % 2);
  for (let r = 0; r < rows; r++) {
    values[r * 5 + 2] = random.integer(0, 5);
    if (labels[r] === 1) values[r * 5] = Number.NaN;
  }
  const table = {
    rows,
    columns: 5,
    values,
    labels,
    typeIndex: Uint16Array.from(labels),
    typeNames: ['benign', 'a'],
  };
  const { model, provenance } = await train({}, { table });
  assert.equal(evaluateModel(model, table).metrics.accuracy.value, 1);
  assert.match(provenance.dataDigest, /^sha256:[0-9a-f]{64}$/);
});

test('row weights count: heavy rows pull the model to their label', async () => {
  const weights = Float32Array.from(TABLE.labels, (label) => (label === 1 ? 0.02 : 1));
  const light = evaluateModel(
    (await train({ calibrationFraction: 0 }, { table: { ...TABLE, weights } })).model,
    TEST,
  );
  const even = evaluateModel((await train({ calibrationFraction: 0 })).model, TEST);
  assert.ok(light.metrics.recall.value < even.metrics.recall.value - 0.1);
});

test('a column that is said to rise only raises the score', async () => {
  const { model } = await train({ monotone: { b: 1, noise: -1 } });
  const probability = (b: number, noise: number, a: number) => {
    const out = { probability: new Float32Array(1), kind: new Int16Array(1) };
    model.score(Float32Array.of(a, b, 2, noise, 7), 1, out);
    return out.probability[0] as number;
  };
  let [highest, lowest] = [0, 1];
  for (const a of [-0.8, 0.1, 0.7, Number.NaN]) {
    for (let b = -1; b < 0.95; b += 0.1) {
      assert.ok(probability(b, 0, a) <= probability(b + 0.1, 0, a));
      assert.ok(probability(0.2, b, a) >= probability(0.2, b + 0.1, a));
      highest = Math.max(highest, probability(b, 0, a));
      lowest = Math.min(lowest, probability(b, 0, a));
    }
  }
  assert.ok(highest - lowest > 0.3);
  await assert.rejects(train({ monotone: { service: 1 } }), refused('training.config-invalid'));
  await assert.rejects(train({ monotone: { unknown: 1 } }), refused('training.config-invalid'));
});

test('copies of a row count once unless they are kept', async () => {
  const table = selectRows(TABLE, [...TABLE.labels.keys(), ...TABLE.labels.keys()]);
  const used = async (duplicates: 'drop' | 'keep') => {
    const { rows } = await train({ duplicates, rounds: 2, split: 'order' }, { table });
    return rows.train + rows.validation + rows.calibration;
  };
  assert.equal(await used('drop'), TABLE.rows);
  assert.equal(await used('keep'), 2 * TABLE.rows);
});

test('a split by time needs times', async () => {
  await assert.rejects(train({ split: 'time' }), refused('training.table-invalid'));
  const times = Float64Array.from(TABLE.labels.keys());
  const { rows } = await train({ split: 'time', rounds: 2 }, { table: { ...TABLE, times } });
  assert.equal(rows.calibration, 600);
});

test('the configuration refuses unknown keys and values out of range, naming them', () => {
  const wrong: readonly [unknown, RegExp][] = [
    [{ leafs: 3 }, /leafs/],
    [{ learningRate: 0 }, /learningRate/],
    [{ maxBins: 257 }, /maxBins/],
    [{ rounds: 1.5 }, /rounds/],
    [{ thresholdPolicy: { kind: 'best' } }, /thresholdPolicy/],
    [{ validationFraction: 0.9 }, /validationFraction/],
  ];
  for (const [config, names] of wrong) {
    assert.throws(
      () => resolveTrainingConfig(config as Partial<TrainingConfig>),
      (error) => {
        assert.ok(refused('training.config-invalid')(error));
        assert.match((error as Error).message, names);
        return true;
      },
    );
  }
  assert.equal(resolveTrainingConfig().maxLeaves, 31);
});

test('a table that contradicts itself is refused', async () => {
  const wrong: readonly Partial<LabelledTable>[] = [
    { columns: 4, values: TABLE.values.subarray(0, 24_000) },
    { labels: TABLE.labels.subarray(1) },
    { labels: TABLE.labels.with(5, 2) },
    { typeIndex: TABLE.typeIndex.with(5, 3) },
    { weights: new Float32Array(TABLE.rows).fill(-1) },
    { times: new Float64Array(3) },
    { values: TABLE.values.with(7, Number.NEGATIVE_INFINITY) },
  ];
  for (const change of wrong) {
    await assert.rejects(train({}, { table: { ...TABLE, ...change } }), refused('training.table-invalid'));
  }
  const benign = selectRows(
    TABLE,
    [...TABLE.labels.keys()].filter((r) => TABLE.labels[r] === 0),
  );
  await assert.rejects(train({}, { table: benign }), refused('training.too-few-rows'));
});

test('the threshold follows its policy', async () => {
  const probability = Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.95, 0.6);
  const labels = Uint8Array.of(0, 0, 0, 0, 1, 1);
  assert.equal(chooseThreshold({ kind: 'fixed', value: 0.7 }, probability, labels), 0.7);
  const fpr = (target: number): number => {
    const threshold = chooseThreshold({ kind: 'fpr', target }, probability, labels);
    return probability.filter((p, i) => labels[i] === 0 && p >= threshold).length / 4;
  };
  assert.deepEqual([0, 0.25, 0.3, 0.5, 1].map(fpr), [0, 0.25, 0.25, 0.5, 1]);
  assert.equal(chooseThreshold({ kind: 'fpr', target: 0 }, Float32Array.of(1), Uint8Array.of(0)), 1);
  const strict = await train({ thresholdPolicy: { kind: 'fpr', target: 0.01 } });
  assert.ok(strict.validation.fpr.value <= 0.01);
  assert.equal(strict.model.threshold, strict.threshold);
});

test('gates pass and fail by their thresholds, each named', async () => {
  const { model, modelBytes, digest } = await train();
  const clock = new ManualClock();
  const inputs: GateInputs = {
    model,
    modelBytes,
    evaluation: evaluateModel(model, TEST),
    table: TEST,
    schema: SYNTHETIC_SCHEMA,
    dataDigest: TEST.digest,
    clock,
  };
  const report = runGates(inputs, { maxFpr: 0.2 });
  assert.equal(report.passed, true);
  assert.equal(report.modelDigest, digest);
  assert.equal(report.createdAt, '2026-01-01T00:00:00.000Z');
  assert.deepEqual(
    report.gates.map(({ name }) => name),
    [
      ...['accuracy', 'fpr', 'recall', 'recall flood', 'recall tunnel', 'calibration', 'brier'],
      ...['schema', 'label-leak', 'latency', 'size'],
    ],
  );
  assert.deepEqual(
    report.skipped?.map(({ name }) => name),
    ['champion', 'robustness', 'duplicates', 'train-cpu', 'train-memory'],
  );
  const strict = runGates(inputs, { minAccuracy: 1, maxFpr: 0.2, maxBytes: 10 });
  assert.equal(strict.passed, false);
  assert.deepEqual(
    strict.gates.filter(({ passed }) => !passed).map(({ name }) => name),
    ['accuracy', 'size'],
  );
  assert.throws(() => runGates(inputs, { accuracy: 1 } as never), refused('training.config-invalid'));
  assert.equal(medianLatencyUs(model, { ...TEST, rows: 0 }, clock), 0);
});

test('a stump finds the best cut, and balanced it cannot hide behind a rare class', () => {
  const values = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  const labels = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 0);
  const table = {
    rows: 10,
    columns: 1,
    values,
    labels,
    typeIndex: Uint16Array.from(labels),
    typeNames: ['benign', 'a'],
  };
  assert.ok(Math.abs(trainStump(table).accuracy - 0.9) < 1e-12);
  const balanced = trainStump(table, { balanced: true });
  assert.ok(Math.abs(balanced.accuracy - (0.5 + (0.5 * 8) / 9)) < 1e-12);
  assert.equal(balanced.threshold, 8);
  const voted = trainStump(table, { categories: [16] });
  assert.ok(Math.abs(voted.accuracy - 1) < 1e-12);
});

test('folds leave whole types out and are measured on exactly these', async () => {
  const folds = assignFolds(TABLE, 2, 4);
  for (const type of [1, 2]) {
    assert.equal(new Set(folds.filter((_, r) => TABLE.typeIndex[r] === type)).size, 1);
  }
  const result = await leaveTypesOut({
    table: TABLE,
    schema: SYNTHETIC_SCHEMA,
    config: { ...QUICK, rounds: 10 },
    seed: 4,
    folds: 2,
  });
  assert.deepEqual(result.folds.flatMap(({ types }) => types).sort(), ['flood', 'tunnel']);
  assert.ok(result.meanFpr < 0.2 && result.meanAuc > 0 && result.meanRecall < 1);
  assert.throws(() => assignFolds(TABLE, 3, 4), refused('training.too-few-rows'));
});

test('a part of NSL-KDD is learned with native categories', async (t) => {
  const path = requireData(t, 'nsl-kdd/KDDTrain+_20Percent.txt.gz');
  if (path === undefined) return;
  const schema = await loadSchema('nsl-kdd');
  const table = await readTable(path, schema);
  const { validation } = await trainModel({
    table,
    schema,
    sourceKinds: ['table'],
    config: { rounds: 30 },
    seed: 1,
  });
  assert.ok(validation.accuracy.value > 0.985, String(validation.accuracy.value));
  assert.ok(validation.auc.value > 0.998);
});
