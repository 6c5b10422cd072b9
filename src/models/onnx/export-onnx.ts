import type { BoostedModelParts } from '../detection-model.ts';
import { ModelError } from '../errors.ts';
import { CATEGORICAL, goesLeft, MISSING_LEFT, type TreeEnsemble } from '../tree-ensemble.ts';
import { encodeOnnx, ONNX_TYPE, type OnnxModel, type OnnxNode, type OnnxTensor } from './onnx-graph.ts';

const ML = 'ai.onnx.ml';
/** Categories a bitset has room for; those nobody declared have bits, too. */
const CATEGORIES = 256;
/** Names of what goes in and comes out: float32, n x columns and n x 1. */
export const ONNX_NAMES = { input: 'features', margin: 'margin', probability: 'probability' } as const;

/**
 * A trees-only model as ONNX (standard opset 17, trees opset 3): features in, margin and calibrated probability out.
 * NaN is a missing value. A categorical split becomes a looked-up column: its bit for the row's category, 0 for left.
 * onnxruntime agrees to 1e-6: it sums margins as float32. Throws `models.onnx-refused` for a hybrid, whose detectors of
 * novelty have no operators there.
 */
export function exportOnnx(parts: BoostedModelParts): Uint8Array {
  if (parts.novelty !== undefined) {
    throw new ModelError(
      'models.onnx-refused',
      'a hybrid has detectors that are no trees; train with method trees',
    );
  }
  const lookups = parts.columns.map((_, c) => lookupOf(parts.detector, c));
  const trees = treeNode(parts, lookups);
  const { nodes, initializers, inputs } = lookupNodes(lookups);
  const { slope, intercept } = parts.calibration;
  const model: OnnxModel = {
    opsets: { '': 17, [ML]: 3 },
    metadata: {
      schema: parts.schemaId,
      columns: JSON.stringify(parts.columns),
      threshold: String(parts.threshold),
    },
    inputs: [{ name: ONNX_NAMES.input, type: ONNX_TYPE.float, dims: ['n', parts.columns.length] }],
    outputs: [
      { name: ONNX_NAMES.margin, type: ONNX_TYPE.float, dims: ['n', 1] },
      { name: ONNX_NAMES.probability, type: ONNX_TYPE.float, dims: ['n', 1] },
    ],
    initializers: [
      ...initializers,
      scalar('slope', ONNX_TYPE.double, slope),
      scalar('intercept', ONNX_TYPE.double, intercept),
    ],
    nodes: [
      ...nodes,
      node('Concat', inputs, 'all-columns', { axis: 1 }),
      { ...trees, inputs: ['all-columns'], outputs: [ONNX_NAMES.margin] },
      node('Cast', [ONNX_NAMES.margin], 'margin-64', { to: ONNX_TYPE.double }),
      node('Mul', ['margin-64', 'slope'], 'scaled'),
      node('Add', ['scaled', 'intercept'], 'calibrated'),
      node('Sigmoid', ['calibrated'], 'probability-64'),
      node('Cast', ['probability-64'], ONNX_NAMES.probability, { to: ONNX_TYPE.float }),
    ],
  };
  return encodeOnnx(model);
}

/** The categorical splits of one column: their nodes, and for each category and for missing whether it goes right. */
interface Lookup {
  readonly nodes: readonly number[];
  /** Row-major (CATEGORIES + 1) x nodes; the last row is for a missing value. */
  readonly table: readonly number[];
}

function lookupOf(ensemble: TreeEnsemble, column: number): Lookup {
  const nodes: number[] = [];
  for (let n = 0; n < ensemble.child.length; n++) {
    const isSplit = ensemble.child[n] !== 0 && ensemble.feature[n] === column;
    if (isSplit && ((ensemble.flags[n] as number) & CATEGORICAL) !== 0) nodes.push(n);
  }
  const table: number[] = [];
  for (let c = 0; c <= CATEGORIES && nodes.length > 0; c++) {
    for (const n of nodes) table.push(goesLeft(ensemble, n, c === CATEGORIES ? Number.NaN : c) ? 0 : 1);
  }
  return { nodes, table };
}

/** Nodes that look up the bits of each categorical column, and the inputs of the Concat. */
function lookupNodes(lookups: readonly Lookup[]) {
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  const inputs: string[] = [ONNX_NAMES.input];
  for (const [c, { nodes: splits, table }] of lookups.entries()) {
    if (splits.length === 0) continue;
    const name = (what: string) => `column-${c}-${what}`;
    initializers.push(
      { name: name('index'), type: ONNX_TYPE.int64, dims: [], values: [c] },
      scalar(name('zero'), ONNX_TYPE.float, 0),
      scalar(name('size'), ONNX_TYPE.float, CATEGORIES),
      { name: name('table'), type: ONNX_TYPE.float, dims: [CATEGORIES + 1, splits.length], values: table },
    );
    nodes.push(
      node('Gather', [ONNX_NAMES.input, name('index')], name('value'), { axis: 1 }),
      // Comparisons with NaN are false, so a missing value takes the last row like one that is no category.
      node('GreaterOrEqual', [name('value'), name('zero')], name('above')),
      node('Less', [name('value'), name('size')], name('below')),
      node('And', [name('above'), name('below')], name('known')),
      node('Where', [name('known'), name('value'), name('size')], name('slot')),
      node('Cast', [name('slot')], name('row'), { to: ONNX_TYPE.int64 }),
      node('Gather', [name('table'), name('row')], name('bits'), { axis: 0 }),
    );
    inputs.push(name('bits'));
  }
  return { nodes, initializers, inputs };
}

/** The ensemble as a TreeEnsembleRegressor with one target. */
function treeNode(parts: BoostedModelParts, lookups: readonly Lookup[]): OnnxNode {
  const { roots, child, feature, value, flags } = parts.detector;
  const derived = new Map<number, number>();
  let column = parts.columns.length;
  for (const { nodes } of lookups) for (const n of nodes) derived.set(n, column++);
  const attributes = {
    aggregate_function: 'SUM',
    post_transform: 'NONE',
    n_targets: 1,
    base_values: [parts.bias],
    nodes_treeids: [] as number[],
    nodes_nodeids: [] as number[],
    nodes_featureids: [] as number[],
    nodes_modes: [] as string[],
    nodes_values: [] as number[],
    nodes_truenodeids: [] as number[],
    nodes_falsenodeids: [] as number[],
    nodes_missing_value_tracks_true: [] as number[],
    target_treeids: [] as number[],
    target_nodeids: [] as number[],
    target_ids: [] as number[],
    target_weights: [] as number[],
  };
  for (const [t, root] of roots.entries()) {
    const end = roots[t + 1] ?? child.length;
    for (let n = root; n < end; n++) {
      const left = child[n] as number;
      const isLeaf = left === 0;
      const lookup = derived.get(n);
      attributes.nodes_treeids.push(t);
      attributes.nodes_nodeids.push(n - root);
      attributes.nodes_featureids.push(isLeaf ? 0 : (lookup ?? (feature[n] as number)));
      attributes.nodes_modes.push(isLeaf ? 'LEAF' : 'BRANCH_LEQ');
      attributes.nodes_values.push(isLeaf ? 0 : lookup === undefined ? (value[n] as number) : 0.5);
      attributes.nodes_truenodeids.push(isLeaf ? 0 : left - root);
      attributes.nodes_falsenodeids.push(isLeaf ? 0 : left + 1 - root);
      attributes.nodes_missing_value_tracks_true.push(((flags[n] as number) & MISSING_LEFT) !== 0 ? 1 : 0);
      if (!isLeaf) continue;
      attributes.target_treeids.push(t);
      attributes.target_nodeids.push(n - root);
      attributes.target_ids.push(0);
      attributes.target_weights.push(value[n] as number);
    }
  }
  return { op: 'TreeEnsembleRegressor', domain: ML, inputs: [], outputs: [], attributes };
}

function node(
  op: string,
  inputs: readonly string[],
  output: string,
  attributes: OnnxNode['attributes'] = {},
): OnnxNode {
  return { op, domain: '', inputs, outputs: [output], attributes };
}

function scalar(name: string, type: number, value: number): OnnxTensor {
  return { name, type, dims: [], values: [value] };
}
