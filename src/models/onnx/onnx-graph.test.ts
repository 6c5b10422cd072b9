import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RANDOM_COLUMNS, randomEnsemble, randomRows } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import type { BoostedModelParts } from '../detection-model.ts';
import { ModelError } from '../errors.ts';
import { fitStatistics } from '../statistics.ts';
import { sumMargins } from '../tree-ensemble.ts';
import { exportOnnx } from './export-onnx.ts';
import { importLightGbm } from './import-lightgbm.ts';
import { importOnnxTrees } from './import-onnx.ts';
import { belowFloat32, floorToFloat32 } from './imported-trees.ts';
import { decodeOnnx, encodeOnnx, ONNX_TYPE, type OnnxModel } from './onnx-graph.ts';
import { ProtobufWriter } from './protobuf.ts';

const refused = (code: string, says: RegExp) => (error: unknown) =>
  error instanceof ModelError && error.code === code && says.test(error.message);

/** A graph with one kind of everything. */
const GRAPH: OnnxModel = {
  opsets: { '': 17, 'ai.onnx.ml': 3 },
  metadata: { schema: 'flow' },
  inputs: [{ name: 'x', type: ONNX_TYPE.float, dims: ['n', 3] }],
  outputs: [{ name: 'y', type: ONNX_TYPE.double, dims: ['n', 1] }],
  initializers: [
    { name: 'f', type: ONNX_TYPE.float, dims: [2], values: [0.5, -3] },
    { name: 'd', type: ONNX_TYPE.double, dims: [], values: [0.1] },
    { name: 'i', type: ONNX_TYPE.int64, dims: [1, 2], values: [-1, 2 ** 40] },
  ],
  nodes: [
    {
      op: 'Concat',
      domain: '',
      inputs: ['x', 'f'],
      outputs: ['y'],
      attributes: { axis: -1, mode: 'SUM', modes: ['LEAF', ''], ids: [0, 1, -5], base_values: [0.25] },
    },
  ],
};

function parts(columns = RANDOM_COLUMNS): BoostedModelParts {
  const random = new SeededRandom(3);
  return {
    schemaId: `sha256:${'5'.repeat(64)}`,
    sourceKinds: ['csv'],
    columns,
    kinds: [],
    threshold: 0.5,
    bias: 0.25,
    detector: randomEnsemble(random, 4, 9, columns),
    calibration: { kind: 'platt', slope: 1, intercept: 0 },
    statistics: fitStatistics(randomRows(random, 10), 10, [0, 70, 0], new Float32Array(1)),
  };
}

test('reads back the graph it writes', () => {
  const decoded = decodeOnnx(encodeOnnx(GRAPH));
  const plain = ({ irVersion: _, producer: __, ...model }: OnnxModel) =>
    JSON.parse(JSON.stringify(model, (_, value) => (value instanceof Float64Array ? [...value] : value)));
  assert.deepEqual(plain(decoded), plain(GRAPH));
  assert.deepEqual([decoded.irVersion, decoded.producer], [8, { name: 'ai-guardian', version: '' }]);
});

test('trees without categories come back as they went', () => {
  const numbers = RANDOM_COLUMNS.map(({ name }) => ({ name, categories: 0 }));
  const model = parts(numbers);
  // The Concat before the trees has no native form; without lookups the trees read the input itself.
  const graph = decodeOnnx(exportOnnx(model));
  const nodes = graph.nodes
    .filter(({ op }) => op === 'TreeEnsembleRegressor')
    .map((node) => ({ ...node, inputs: ['features'] }));
  const trees = importOnnxTrees(encodeOnnx({ ...graph, nodes, initializers: [] }));
  const rows = randomRows(new SeededRandom(8), 500);
  assert.deepEqual(
    sumMargins(trees.ensemble, trees.bias, rows, 500),
    sumMargins(model.detector, 0.25, rows, 500),
  );
});

test('bytes that were cut or changed are refused, or read as another graph, and nothing else', () => {
  const bytes = exportOnnx(parts());
  const tryIt = (changed: Uint8Array) => {
    try {
      importOnnxTrees(changed);
    } catch (error) {
      assert.ok(error instanceof ModelError, String(error));
    }
  };
  for (let length = 0; length < Math.min(bytes.length, 2000); length++) tryIt(bytes.subarray(0, length));
  const random = new SeededRandom(4);
  for (let i = 0; i < 3000; i++) {
    const changed = bytes.slice();
    const at = random.integer(0, bytes.length - 1);
    changed[at] = (changed[at] as number) ^ (1 << random.integer(0, 7));
    tryIt(changed);
  }
});

test('tensors in other files and operators of its own are never loaded', () => {
  const graph = (write: (w: ProtobufWriter) => void) => new ProtobufWriter().message(7, write).finish();
  const external = graph((w) =>
    w.message(5, (t) => t.varints(1, [1]).varint(2, 1).text(8, 't').varint(14, 1)),
  );
  assert.throws(() => decodeOnnx(external), refused('models.onnx-refused', /another file/));
  const located = graph((w) =>
    w.message(5, (t) => t.message(13, (e) => e.text(1, 'location').text(2, '/etc/passwd'))),
  );
  assert.throws(() => decodeOnnx(located), refused('models.onnx-refused', /another file/));
  const functions = new ProtobufWriter().message(25, (w) => w.text(1, 'f')).finish();
  assert.throws(() => decodeOnnx(functions), refused('models.onnx-refused', /functions/));
});

test('a graph that is more than trees has no native form', () => {
  assert.throws(
    () => importOnnxTrees(encodeOnnx(GRAPH)),
    refused('models.onnx-refused', /one node of trees, got 0/),
  );
  assert.throws(() => importOnnxTrees(exportOnnx(parts())), refused('models.onnx-refused', /Gather|Concat/));
});

test('thresholds of higher precision are rounded so that no float32 row changes sides', () => {
  for (const t of [0.1, -0.1, 1 / 3, 1e30, -1e-40, 0, 5]) {
    const floor = floorToFloat32(t);
    assert.equal(Math.fround(floor), floor);
    assert.ok(floor <= t);
    for (const v of [belowFloat32(floor), floor, Math.fround(t)])
      assert.equal(v <= t, v <= floor, `${v} at ${t}`);
    assert.ok(belowFloat32(floor) < floor);
  }
});

test('a LightGBM text that is none, or of a form we do not have, is refused', () => {
  assert.throws(() => importLightGbm('hello'), refused('models.malformed', /tree/));
  const head = 'tree\nversion=v4\nnum_class=1\nmax_feature_idx=1\nobjective=binary sigmoid:1\n';
  assert.throws(
    () => importLightGbm(head.replace('num_class=1', 'num_class=5')),
    refused('models.onnx-refused', /5/),
  );
  const circle =
    '\nTree=0\nnum_leaves=3\nsplit_feature=0 1\nthreshold=1 2\ndecision_type=2 2\nleft_child=1 0\nright_child=-1 -2\nleaf_value=1 2 3\n';
  assert.throws(() => importLightGbm(head + circle), refused('models.malformed', /two parents/));
});
