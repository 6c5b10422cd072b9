import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graphModel, hungryGraph, trees } from '../../../test/support/graph-model.ts';
import { encodeContainer } from '../container.ts';
import { ModelError } from '../errors.ts';
import { encodeModel } from '../model-file.ts';
import { readModel } from '../read-model.ts';
import { decodeGraphModel, encodeGraphModel } from './graph-file.ts';
import { GraphModel, type GraphModelParts } from './graph-model.ts';
import { encodeOnnx, ONNX_TYPE, type OnnxModel } from './onnx-graph.ts';
import { ProtobufWriter } from './protobuf.ts';

const { model } = trees(1);
const foreign = graphModel(model);
const refused = (says: RegExp) => (error: unknown) =>
  error instanceof ModelError && error.code === 'models.onnx-refused' && says.test(error.message);

test('a foreign graph comes back from its file as it was, and the same model gives the same bytes', () => {
  const bytes = encodeGraphModel(foreign);
  const back = readModel(bytes);
  assert.ok(back instanceof GraphModel);
  assert.deepEqual(back.parts, foreign.parts);
  assert.deepEqual(encodeGraphModel(back), bytes);
  assert.deepEqual(readModel(encodeModel(model)).columnNames, model.columnNames);
});

test('a file that is cut off or changed is refused by its form, or is another graph', () => {
  const bytes = encodeGraphModel(graphModel(model, { graph: hungryGraph(3) }));
  for (let length = 0; length < bytes.length; length += 7) {
    assert.throws(() => decodeGraphModel(bytes.subarray(0, length)), { code: 'models.malformed' });
  }
  for (let at = 0; at < bytes.length; at += 3) {
    const changed = bytes.slice();
    changed[at] = (changed[at] as number) ^ 0x55;
    try {
      decodeGraphModel(changed);
    } catch (error) {
      assert.ok(error instanceof ModelError, `${at}: ${error}`);
    }
  }
});

test('headers that say more or less than they should are refused', () => {
  const { graph, schemaId, sourceKinds, threshold, output } = foreign.parts;
  const columns = foreign.parts.columns.map(({ name, categories }) => ({ name, categories }));
  const header = { type: 'onnx-graph', schemaId, sourceKinds, threshold, output, columns, calibration: null };
  const write = (change: object, data = graph) =>
    encodeContainer(3, { ...header, ...change }, [{ name: 'graph', dtype: 'u8', data }]);
  decodeGraphModel(write({}));
  const wrong: readonly object[] = [
    { type: 'hybrid' },
    { more: 1 },
    { threshold: 2 },
    { columns: [columns[0], columns[0], columns[1]] },
    { output: { ...output, link: 'margin' } },
    { output: { ...output, path: 'x' } },
    { calibration: { kind: 'platt', slope: -1, intercept: 0 } },
  ];
  for (const change of wrong) {
    assert.throws(() => decodeGraphModel(write(change)), { code: 'models.malformed' });
  }
  assert.throws(() => decodeGraphModel(write({}, new Uint8Array(9))), ModelError);
});

const GRAPH: OnnxModel = {
  opsets: { '': 17 },
  metadata: {},
  inputs: [{ name: 'x', type: ONNX_TYPE.float, dims: ['n', 3] }],
  outputs: [{ name: 'probability', type: ONNX_TYPE.float, dims: ['n', 2] }],
  initializers: [],
  nodes: [{ op: 'Softmax', domain: '', inputs: ['x'], outputs: ['probability'], attributes: {} }],
};
const check = (change: Partial<OnnxModel>, parts: Partial<GraphModelParts> = {}) =>
  encodeGraphModel(graphModel(model, { graph: encodeOnnx({ ...GRAPH, ...change }), ...parts }));

const [node] = GRAPH.nodes;
const [input] = GRAPH.inputs;
const [output] = GRAPH.outputs;
const REFUSED: readonly (readonly [string, Partial<OnnxModel>, RegExp])[] = [
  ['operators of its own', { opsets: { '': 17, 'com.example': 1 } }, /operators of "com.example"/],
  ['a node of a domain that it does not import', { nodes: [{ ...node!, domain: 'x' }] }, /operators of "x"/],
  ['no nodes', { nodes: [] }, /0 nodes/],
  ['too many nodes', { nodes: Array.from({ length: 10_001 }, () => node!) }, /10001 nodes/],
  ['two inputs', { inputs: [input!, { ...input!, name: 'y' }] }, /one input/],
  ['rows of a fixed number', { inputs: [{ ...input!, dims: [1, 3] }] }, /any number of rows/],
  ['other columns', { inputs: [{ ...input!, dims: ['n', 4] }] }, /4 columns/],
  ['an input of another type', { inputs: [{ ...input!, type: ONNX_TYPE.double }] }, /float32/],
  ['no such output', { outputs: [{ ...output!, name: 'label' }] }, /no output/],
  ['an output of labels', { outputs: [{ ...output!, type: ONNX_TYPE.int64 }] }, /no tensor of float32/],
];
for (const [what, change, says] of REFUSED) {
  test(`refuses a graph with ${what}`, () => assert.throws(() => check(change), refused(says)));
}

test('takes the column of a class, and refuses one that is not there', () => {
  const at = (column: number) => check({}, { output: { name: 'probability', column, link: 'probability' } });
  at(1);
  assert.throws(() => at(2), refused(/no column 2/));
});

test('refuses files beside the graph, functions, training and sparse tensors wherever they stand', () => {
  const tensor = (w: ProtobufWriter) =>
    w.text(8, 'w').message(13, (entry) => entry.text(1, 'location').text(2, '/etc/passwd'));
  const cases: readonly ((w: ProtobufWriter) => void)[] = [
    (w) => w.message(7, (graph) => graph.message(5, tensor)),
    (w) =>
      w.message(7, (graph) =>
        graph.message(1, (n) => n.message(5, (a) => a.text(1, 'v').message(5, tensor))),
      ),
    (w) =>
      w.message(7, (graph) =>
        graph.message(1, (n) => n.message(5, (a) => a.text(1, 'v').message(10, tensor))),
      ),
    (w) => w.message(7, (graph) => graph.message(15, () => {})),
    (w) => w.message(20, () => {}),
    (w) => w.message(25, () => {}),
  ];
  for (const add of cases) {
    const writer = new ProtobufWriter();
    add(writer);
    const graph = Uint8Array.from([...encodeOnnx(GRAPH), ...writer.finish()]);
    assert.throws(() => encodeGraphModel(graphModel(model, { graph })), refused(/not loaded/));
  }
});

test('is not scored here and makes no probability of what is none', () => {
  assert.throws(() => foreign.score(), { code: 'models.needs-runtime' });
  const margins = graphModel(model, { calibration: { kind: 'platt', slope: 1, intercept: 0 } });
  const out = { probability: new Float32Array(5), kind: new Int16Array(5) };
  margins.finish(Float32Array.of(0.25, 1, 0, 1.5, Number.NaN), 5, out);
  assert.ok(Math.abs((out.probability[0] as number) - 0.25) < 1e-7);
  assert.ok((out.probability[1] as number) > 0.999 && (out.probability[2] as number) < 0.001);
  assert.ok(Number.isNaN(out.probability[3]) && Number.isNaN(out.probability[4]));
});
