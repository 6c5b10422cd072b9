import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lightGbmText } from '../../test/support/lightgbm-text.ts';
import { onnxForest } from '../../test/support/onnx-forest.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../test/support/synthetic-table.ts';
import { sha256 } from '../crypto/index.ts';
import { checkSchema } from '../features/index.ts';
import { decodeModel } from '../models/index.ts';
import { type AdoptTreesInput, adoptTrees } from './adopt-trees.ts';
import { evaluateModel } from './evaluate.ts';

const TABLE = syntheticTable(4000, 7);
/** b above 0.3 in services 1 and 2 speaks for attack; service is column 2, whose index is taken for a number. */
const TREES = lightGbmText(5, [
  {
    ...{ column: 1, threshold: 0.3, leaf: -2 },
    above: { column: 2, threshold: 0.5, leaf: -1, above: { column: 2, threshold: 2.5, leaf: 2, above: -1 } },
  },
]);

function adopt(text: string | Uint8Array, more: Partial<AdoptTreesInput> = {}) {
  return adoptTrees({
    file: typeof text === 'string' ? Buffer.from(text) : text,
    schema: SYNTHETIC_SCHEMA,
    table: TABLE,
    isRaw: false,
    thresholdPolicy: { kind: 'fixed', value: 0.5 },
    seed: 1,
    ...more,
  });
}

test('trees of LightGBM become a native candidate, calibrated on one half of the rows and held on the other', () => {
  const adopted = adopt(TREES);
  const { model, modelBytes, held, fittedOn, provenance } = adopted;
  assert.equal(held.rows + fittedOn.length, TABLE.rows);
  assert.deepEqual(modelBytes, adopt(TREES).modelBytes);
  assert.notDeepEqual(modelBytes, adopt(TREES, { seed: 2 }).modelBytes);
  assert.deepEqual(decodeModel(modelBytes).parts, model.parts);
  const { kinds } = evaluateModel(model, held);
  const [flood, tunnel] = kinds;
  assert.ok(flood && tunnel && tunnel.detected.value > 0.8 && flood.detected.value < 0.6);
  const { configuration, trainer, dataDigest, schemaId } = provenance;
  assert.equal(dataDigest, TABLE.digest);
  assert.equal(schemaId, SYNTHETIC_SCHEMA.id);
  assert.equal(trainer, `import of lightgbm ${sha256(Buffer.from(TREES))}`);
  assert.equal((configuration as { origin: { digest: string } }).origin.digest, sha256(Buffer.from(TREES)));
});

test('a split by number on a category sends the same categories the same way', () => {
  const { model } = adopt(TREES);
  const margins = new Float64Array(6);
  const rows = Float32Array.from([0, 1, 2, 3, 4, 5].flatMap((service) => [0, 0.5, service, 0, 7]));
  model.margins(rows, 6, margins);
  assert.deepEqual([...margins], [-1, 2, 2, -1, -1, -1]);
});

test('thresholds of raw values are those of the logarithm in the vectors', () => {
  const { schema } = SYNTHETIC_SCHEMA;
  const logarithmic = checkSchema({
    ...schema,
    columns: schema.columns.map((column) =>
      column.name === 'b' ? { ...column, transform: 'log1p', range: [0, 1e9] } : column,
    ),
  });
  const text = lightGbmText(5, [{ column: 1, threshold: 1000.5, leaf: -1, above: 1 }]);
  const table = { ...TABLE, values: TABLE.values.map((x, i) => (i % 5 === 1 ? Math.log1p(Math.abs(x)) : x)) };
  const { model } = adopt(text, { schema: logarithmic, table, isRaw: true });
  const margins = new Float64Array(2);
  const rows = Float32Array.from([1000, 1001].flatMap((b) => [0, Math.log1p(b), 0, 0, 7]));
  model.margins(rows, 2, margins);
  assert.deepEqual([...margins], [-1, 1]);
});

test('a forest, other columns, categories where the schema has numbers, and foreign bytes are refused', () => {
  const refused = { code: 'training.trees-refused' };
  const forest = onnxForest(5);
  assert.throws(() => adopt(forest), { ...refused, message: /probabilities, as a forest has them/ });
  assert.throws(() => adopt(lightGbmText(4, [{ column: 1, threshold: 0, leaf: -1, above: 1 }])), {
    ...refused,
    message: /it has 4 columns, the schema synthetic 5/,
  });
  const byCategory = lightGbmText(5, [{ column: 1, categories: [0, 2], leaf: -1, above: 1 }]);
  assert.throws(() => adopt(byCategory), { ...refused, message: /splits b by category/ });
  assert.throws(() => adopt('tree\nversion=v4\n'), { code: 'models.malformed' });
  assert.throws(() => adopt('no trees at all'), { code: /^models\./ });
  const oneClass = { ...TABLE, labels: new Uint8Array(TABLE.rows), typeIndex: new Uint16Array(TABLE.rows) };
  assert.throws(() => adopt(TREES, { table: oneClass }), { code: 'training.too-few-rows' });
});
