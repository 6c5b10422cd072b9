import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RANDOM_COLUMNS, randomEnsemble, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import { nodeMeans } from './contributions.ts';
import { goesLeft, sumMargins, type TreeEnsemble } from './tree-ensemble.ts';
import { TreeShap } from './tree-shap.ts';

/** The mean margin of the training rows when only the columns of a subset are known (a bit a column). */
function expectation(ensemble: TreeEnsemble, node: number, row: Float32Array, known: number): number {
  const left = ensemble.child[node] as number;
  if (left === 0) return ensemble.value[node] as number;
  const column = ensemble.feature[node] as number;
  const below = (child: number) => expectation(ensemble, child, row, known);
  if ((known & (1 << column)) !== 0) {
    return below(goesLeft(ensemble, node, row[column] as number) ? left : left + 1);
  }
  const [l, r] = [ensemble.cover[left] as number, ensemble.cover[left + 1] as number];
  return (l * below(left) + r * below(left + 1)) / (l + r);
}

/** Shapley's definition: the mean gain of a column over all orders in which columns become known. */
function shapley(ensemble: TreeEnsemble, row: Float32Array, columns: number): Float64Array {
  const values = new Float64Array(columns);
  const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
  for (let known = 0; known < 1 << columns; known++) {
    const size = Array.from({ length: columns }, (_, c) => (known >>> c) & 1).reduce((a, b) => a + b, 0);
    for (let c = 0; c < columns; c++) {
      if ((known & (1 << c)) !== 0) continue;
      const weight = (factorial(size) * factorial(columns - size - 1)) / factorial(columns);
      for (const root of ensemble.roots) {
        const gain =
          expectation(ensemble, root, row, known | (1 << c)) - expectation(ensemble, root, row, known);
        values[c]! += weight * gain;
      }
    }
  }
  return values;
}

test('is exactly the Shapley value, with categories, missing values and columns tested many times', () => {
  const random = new SeededRandom(20261123);
  const columns = [
    ...RANDOM_COLUMNS,
    { name: 'bytes', categories: 0 },
    { name: 'state', categories: 11 },
    { name: 'gap', categories: 0 },
  ];
  for (let t = 0; t < 20; t++) {
    const ensemble = randomEnsemble(random, 3, 1 + t, columns);
    const shap = new TreeShap(ensemble);
    for (let r = 0; r < 5; r++) {
      const row = Float32Array.from(columns, ({ categories }) => {
        if (random.chance(0.15)) return Number.NaN;
        return categories === 0 ? random.uniform(-1, 1) : random.integer(0, categories + 1);
      });
      const found = new Float64Array(columns.length);
      shap.add(row, found);
      for (const [c, value] of shapley(ensemble, row, columns.length).entries()) {
        assert.ok(Math.abs(value - (found[c] as number)) < 1e-12, `tree ${t}, column ${c}`);
      }
    }
  }
});

test('values and the mean margin add up to the margin', () => {
  const random = new SeededRandom(7);
  const ensemble = randomEnsemble(random, 50, 62);
  const means = nodeMeans(ensemble);
  const mean = ensemble.roots.reduce((sum, root) => sum + (means[root] as number), 0);
  const values = randomRows(random, 40);
  const margins = sumMargins(ensemble, 0, values, 40);
  const shap = new TreeShap(ensemble);
  for (let r = 0; r < 40; r++) {
    const out = new Float64Array(3);
    shap.add(values.subarray(r * 3, r * 3 + 3), out);
    assert.ok(Math.abs(out.reduce((a, b) => a + b, mean) - (margins[r] as number)) < 1e-9);
  }
});
