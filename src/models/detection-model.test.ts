import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RANDOM_COLUMNS, randomModel, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import { calibrate } from './calibration.ts';
import { nodeMeans } from './contributions.ts';
import { ModelError } from './errors.ts';
import { goesLeft, type TreeEnsemble } from './tree-ensemble.ts';

/** The naive twin of scoring: one row, one tree, by recursion. */
function walk(ensemble: TreeEnsemble, node: number, row: Float32Array): number {
  const left = ensemble.child[node] as number;
  if (left === 0) return ensemble.value[node] as number;
  const goes = goesLeft(ensemble, node, row[ensemble.feature[node] as number] as number);
  return walk(ensemble, goes ? left : left + 1, row);
}

function margin(
  ensemble: TreeEnsemble,
  bias: number,
  row: Float32Array,
  from = 0,
  to = ensemble.roots.length,
): number {
  let sum = bias;
  for (const root of ensemble.roots.subarray(from, to)) sum += walk(ensemble, root, row);
  return sum;
}

test('scoring equals a recursive walk, in batches of any size and row by row', () => {
  const model = randomModel(new SeededRandom(1), 20, 12);
  const rows = 700;
  const values = randomRows(new SeededRandom(2), rows);
  const out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  model.score(values, rows, out);
  const one = { probability: new Float32Array(1), kind: new Int16Array(1) };
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * 3, r * 3 + 3);
    const expected = calibrate(model.parts.calibration, margin(model.parts.detector, model.parts.bias, row));
    assert.equal(out.probability[r], Math.fround(expected));
    model.score(row, 1, one);
    assert.equal(one.probability[0], out.probability[r]);
    assert.equal(out.kind[r], -1);
  }
});

test('rows at or above the threshold are named by the kind with the largest margin', () => {
  const model = randomModel(new SeededRandom(3), 20, 8, ['a', 'b', 'c']);
  const rows = 300;
  const values = randomRows(new SeededRandom(4), rows);
  const out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  model.score(values, rows, out);
  const stage = model.parts.kindStage;
  assert.ok(stage !== undefined);
  let named = 0;
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * 3, r * 3 + 3);
    if ((out.probability[r] as number) < 0.5) {
      assert.equal(out.kind[r], -1);
      continue;
    }
    named++;
    const margins: number[] = [0, 1, 2].map((k) =>
      margin(stage.ensemble, stage.biases[k] as number, row, 2 * k, 2 * k + 2),
    );
    assert.equal(out.kind[r], margins.indexOf(Math.max(...margins)));
    const p = model.kindProbabilities(row);
    assert.ok(Math.abs(p.reduce((a, b) => a + b) - 1) < 1e-12);
    assert.equal(p.indexOf(Math.max(...p)), out.kind[r]);
  }
  assert.ok(named > 0 && named < rows);
});

test('contributions and the mean of the roots add up to the margin', () => {
  const model = randomModel(new SeededRandom(5), 10, 10);
  const means = nodeMeans(model.parts.detector);
  const base = [...model.parts.detector.roots].reduce(
    (sum, root) => sum + (means[root] as number),
    model.parts.bias,
  );
  const values = randomRows(new SeededRandom(6), 50);
  const margins = new Float64Array(50);
  model.margins(values, 50, margins);
  for (let r = 0; r < 50; r++) {
    const found = model.explain(values.subarray(r * 3, r * 3 + 3), 10);
    const sum = found.reduce((total, { contribution }) => total + contribution, base);
    assert.ok(Math.abs(sum - (margins[r] as number)) < 1e-9);
    for (let i = 1; i < found.length; i++) {
      assert.ok(Math.abs(found[i - 1]?.contribution ?? 0) >= Math.abs(found[i]?.contribution ?? 0));
    }
    assert.ok(found.every(({ column }) => RANDOM_COLUMNS.some(({ name }) => name === column)));
  }
});

test('batches and buffers of the wrong size are refused', () => {
  const model = randomModel(new SeededRandom(7));
  const out = { probability: new Float32Array(2), kind: new Int16Array(2) };
  const refused = (e: unknown): boolean => e instanceof ModelError && e.code === 'models.shape-mismatch';
  assert.throws(() => model.score(new Float32Array(5), 2, out), refused);
  assert.throws(() => model.score(new Float32Array(9), 3, out), refused);
  assert.throws(() => model.score(new Float32Array(9), -1, out), refused);
  assert.throws(() => model.score(new Float32Array(9), 1.5, out), refused);
  assert.throws(() => model.explain(new Float32Array(2)), refused);
  model.score(new Float32Array(0), 0, out);
});
