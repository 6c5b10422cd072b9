import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RANDOM_COLUMNS, randomEnsemble, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import { CompiledEnsemble } from './compiled-ensemble.ts';
import { addMargins, type TreeEnsemble } from './tree-ensemble.ts';

function compare(ensemble: TreeEnsemble, values: Float32Array, firstRow: number, rows: number, columns = 3) {
  const [expected, actual] = [new Float64Array(rows).fill(0.1), new Float64Array(rows).fill(0.1)];
  addMargins(ensemble, 0, ensemble.roots.length, values, columns, firstRow, rows, expected);
  new CompiledEnsemble(ensemble, columns).addMargins(values, firstRow, rows, actual);
  assert.deepEqual(actual, expected);
}

test('margins equal the plain walk bit for bit: missing values, categories nobody declared, any number of rows', () => {
  const random = new SeededRandom(12);
  assert.equal(RANDOM_COLUMNS.length, 3);
  for (const [trees, splits] of [
    [0, 0],
    [1, 0],
    [3, 5],
    [16, 12],
    [37, 20],
  ] as const) {
    const ensemble = randomEnsemble(random, trees, splits);
    const values = randomRows(random, 100);
    for (const rows of [0, 1, 15, 16, 17, 90]) compare(ensemble, values, 10, rows);
  }
});

test('values at a threshold go left, huge ones and both zeros go where the plain walk goes', () => {
  const random = new SeededRandom(2);
  const ensemble = randomEnsemble(random, 20, 15);
  const thresholds = ensemble.value.filter((_, n) => ensemble.child[n] !== 0);
  const values = Float32Array.from({ length: 300 }, (_, i) =>
    i % 7 === 0
      ? ([-0, 0, 3.4e38, -3.4e38, 255, 256, -1][i % 5] as number)
      : (thresholds[i % thresholds.length] as number),
  );
  compare(ensemble, values, 0, 100);
});

test('a tree that is mostly depth is walked plainly', () => {
  const depth = 100;
  const nodes = 2 * depth + 1;
  const child = Uint32Array.from({ length: nodes }, (_, n) => (n % 2 === 0 && n < 2 * depth ? n + 1 : 0));
  const of = <A>(make: new (n: number) => A): A => new make(nodes);
  const ensemble: TreeEnsemble = {
    ...{ roots: Uint32Array.of(0), child, feature: of(Uint16Array), flags: of(Uint8Array) },
    ...{ block: of(Uint32Array), cover: of(Uint32Array), bitsets: new Uint32Array(0) },
    value: Float32Array.from(child, (_, n) => -n),
  };
  compare(ensemble, Float32Array.of(-1000, 5, -30, Number.NaN), 0, 4, 1);
});
