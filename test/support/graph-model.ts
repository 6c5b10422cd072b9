import { SeededRandom } from '../../src/base/index.ts';
import { sha256 } from '../../src/crypto/index.ts';
import {
  BoostedModel,
  decodeModel,
  encodeGraphModel,
  encodeOnnx,
  exportOnnx,
  fitStatistics,
  GraphModel,
  type GraphModelParts,
  ONNX_NAMES,
  ONNX_TYPE,
} from '../../src/models/index.ts';
import type { Candidate } from '../../src/registry/index.ts';
import { RANDOM_COLUMNS, randomEnsemble, randomRows } from './random-model.ts';

/** A model of random trees with categories and missing values, calibrated away from the identity, and rows for it. */
export function trees(
  count: number,
  forest = { seed: 41, trees: 60, leaves: 20 },
): { readonly model: BoostedModel; readonly rows: Float32Array } {
  const random = new SeededRandom(forest.seed);
  const rows = randomRows(random, count);
  const categories = RANDOM_COLUMNS.map((column) => column.categories);
  const model = new BoostedModel({
    schemaId: `sha256:${'5'.repeat(64)}`,
    sourceKinds: ['csv'],
    columns: RANDOM_COLUMNS,
    kinds: [],
    threshold: 0.5,
    bias: -0.37,
    detector: randomEnsemble(random, forest.trees, forest.leaves),
    calibration: { kind: 'platt', slope: 0.8, intercept: 0.1 },
    statistics: fitStatistics(rows, count, categories, new Float32Array(1)),
  });
  return { model, rows };
}

/** The same trees as a foreign graph; `parts` in place of what they give. */
export function graphModel(model: BoostedModel, parts: Partial<GraphModelParts> = {}): GraphModel {
  const { schemaId, sourceKinds, columns, threshold } = model.parts;
  return new GraphModel({
    ...{ schemaId, sourceKinds, columns, threshold },
    output: { name: ONNX_NAMES.probability, column: 0, link: 'probability' },
    calibration: null,
    graph: exportOnnx(model.parts),
    ...parts,
  });
}

/** The candidate's trees as a foreign graph, under the same name. */
export function graphCandidate(candidate: Candidate): Candidate {
  const modelBytes = encodeGraphModel(graphModel(decodeModel(candidate.modelBytes)));
  const gateReport = { ...candidate.gateReport, modelDigest: sha256(modelBytes) };
  return { ...candidate, modelBytes, gateReport };
}

/** A graph that takes as many floats as the first column of its rows says. */
export function hungryGraph(columns: number): Uint8Array {
  const node = (
    op: string,
    inputs: string[],
    output: string,
    attributes: Record<string, number | number[]> = {},
  ) => ({ ...{ op, domain: '', inputs, attributes }, outputs: [output] });
  const first = { type: ONNX_TYPE.int64, dims: [1], values: [0] };
  return encodeOnnx({
    opsets: { '': 17 },
    metadata: {},
    inputs: [{ name: 'x', type: ONNX_TYPE.float, dims: ['n', columns] }],
    outputs: [{ name: ONNX_NAMES.probability, type: ONNX_TYPE.float, dims: ['n', 1] }],
    initializers: [
      { name: 'index', ...first },
      { name: 'one', type: ONNX_TYPE.float, dims: [1], values: [1] },
    ],
    nodes: [
      node('Gather', ['x', 'index'], 'column', { axis: 1 }),
      node('Abs', ['column'], 'size'),
      node('ReduceMax', ['size'], 'most', { axes: [0, 1], keepdims: 0 }),
      node('Add', ['most', 'one'], 'some'),
      node('Cast', ['some'], 'shape', { to: ONNX_TYPE.int64 }),
      node('ConstantOfShape', ['shape'], 'zeros'),
      node('Exp', ['zeros'], 'ones'),
      node('ReduceMean', ['ones'], 'mean', { axes: [0], keepdims: 0 }),
      node('Mul', ['column', 'mean'], 'same'),
      node('Sigmoid', ['same'], ONNX_NAMES.probability),
    ],
  });
}

/** A network of dense layers, rectified between them, with one probability at its end. */
export function denseGraph(random: SeededRandom, columns: number, hidden: readonly number[]): Uint8Array {
  const sizes = [columns, ...hidden, 1];
  const layers = sizes.slice(1).map((outputs, l) => ({ inputs: sizes[l] as number, outputs, l }));
  const floats = (n: number, spread: number) =>
    Array.from({ length: n }, () => random.uniform(-spread, spread));
  return encodeOnnx({
    opsets: { '': 17 },
    metadata: {},
    inputs: [{ name: 'x', type: ONNX_TYPE.float, dims: ['n', columns] }],
    outputs: [{ name: ONNX_NAMES.probability, type: ONNX_TYPE.float, dims: ['n', 1] }],
    initializers: layers.flatMap(({ inputs, outputs, l }) => [
      {
        name: `w${l}`,
        type: ONNX_TYPE.float,
        dims: [inputs, outputs],
        values: floats(inputs * outputs, 2 / Math.sqrt(inputs)),
      },
      { name: `b${l}`, type: ONNX_TYPE.float, dims: [outputs], values: floats(outputs, 0.5) },
    ]),
    nodes: layers.flatMap(({ l }) => {
      const isLast = l === layers.length - 1;
      const step = (op: string, inputs: string[], output: string) => ({
        ...{ op, domain: '', inputs, outputs: [output], attributes: {} },
      });
      return [
        step('MatMul', [l === 0 ? 'x' : `y${l - 1}`, `w${l}`], `m${l}`),
        step('Add', [`m${l}`, `b${l}`], `s${l}`),
        step(isLast ? 'Sigmoid' : 'Relu', [`s${l}`], isLast ? ONNX_NAMES.probability : `y${l}`),
      ];
    }),
  });
}
