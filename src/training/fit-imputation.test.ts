import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../test/support/synthetic-table.ts';
import { checkSchema } from '../features/index.ts';
import { decodeModel, QUANTILES } from '../models/index.ts';
import { encodeRows, fitBinning } from './binning.ts';
import { fitImputation } from './fit-imputation.ts';
import { trainModel } from './train-model.ts';

const IMPUTED = checkSchema({
  ...SYNTHETIC_SCHEMA.schema,
  v: 2,
  columns: SYNTHETIC_SCHEMA.schema.columns.map((column) => ({ ...column, missing: 'impute' })),
});
const COLUMNS = IMPUTED.schema.columns.length;

/** Every third value of these columns is gone. */
function holes(table: ReturnType<typeof syntheticTable>, columns: readonly number[]): Float32Array {
  const values = table.values.slice();
  for (let r = 0; r < table.rows; r += 3) for (const c of columns) values[r * COLUMNS + c] = Number.NaN;
  return values;
}

test('a missing value of an imputed column scores as the median of the training rows', async () => {
  const full = syntheticTable(3000, 11);
  const table = { ...full, values: holes(full, [0, 2]) };
  const given = { table, sourceKinds: ['table'], seed: 5, config: { rounds: 40, kinds: false } };
  const { modelBytes } = await trainModel({ ...given, schema: IMPUTED });
  const model = decodeModel(modelBytes);
  const { quantiles, frequencies } = model.parts.statistics;
  const services = [...frequencies];
  const fills = IMPUTED.schema.columns.map(({ type }, c) =>
    type === 'category'
      ? services.indexOf(Math.max(...services))
      : (quantiles[c * QUANTILES + (QUANTILES - 1) / 2] as number),
  );
  const filled = table.values.map((x, i) => (Number.isNaN(x) ? (fills[i % COLUMNS] as number) : x));
  const margins = (values: Float32Array, of = model) => {
    const out = new Float64Array(table.rows);
    of.margins(values, table.rows, out);
    return [...out];
  };
  assert.deepEqual(margins(table.values), margins(filled));
  // Without the policy the trees choose a side of their own.
  const kept = decodeModel((await trainModel({ ...given, schema: SYNTHETIC_SCHEMA })).modelBytes);
  assert.notDeepEqual(margins(table.values, kept), margins(filled, kept));
});

test('what it counts as is fitted on the training rows alone, and training sees it', () => {
  const values = Float32Array.from([1, Number.NaN, 2, 3, 900, 900, 900, 900]);
  const schema = checkSchema({
    ...SYNTHETIC_SCHEMA.schema,
    v: 2,
    columns: [{ ...IMPUTED.schema.columns[0], name: 'a' }],
    table: { ...SYNTHETIC_SCHEMA.schema.table, cells: ['a', 'label'] },
  });
  const rows = Uint32Array.of(0, 1, 2, 3);
  const table = { values, columns: 1 };
  const binning = fitImputation(fitBinning(values, 1, rows, [0], 256), { table, rows, schema });
  assert.deepEqual([...encodeRows(binning, values, 1, rows).bins], [1, 2, 2, 3]);
});
