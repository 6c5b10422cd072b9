import { ModelError } from '../errors.ts';
import {
  belowFloat32,
  EnsembleBuilder,
  type ForeignNode,
  floorToFloat32,
  type ImportedTrees,
} from './imported-trees.ts';
import { decodeOnnx, type OnnxAttribute, type OnnxModel, type OnnxNode } from './onnx-graph.ts';

/** Operators beside the trees that change neither rows nor margin: casts, and how classes are shown. */
const HARMLESS = new Set(['Cast', 'Identity', 'ZipMap', 'ArrayFeatureExtractor', 'Reshape']);

/**
 * The trees of an ONNX file with one margin: TreeEnsembleRegressor with one target, or TreeEnsembleClassifier of two
 * classes, as the converters of LightGBM, XGBoost and scikit-learn write them. Thresholds are rounded down to
 * float32. Throws `models.malformed`, and `models.onnx-refused` where the graph is more than trees.
 */
export function importOnnxTrees(bytes: Uint8Array): ImportedTrees {
  const model = decodeOnnx(bytes);
  const trees = theTrees(model);
  const columns = model.inputs[0]?.dims[1];
  if (model.inputs.length !== 1 || typeof columns !== 'number')
    refuse('expected one input of rows x columns');
  const splits = readSplits(trees);
  const leaves = readLeaves(trees);
  const builder = new EnsembleBuilder(columns);
  const wholes = wholeColumns(splits);
  for (const { root, nodes } of splits.values()) {
    builder.addTree(root.id, (id) => nodeOf(nodes.get(id), leaves, wholes));
  }
  const base = numbers(trees, 'base_values', 'base_values_as_tensor');
  if (base.length > 1) refuse(`it has ${base.length} margins, and one can be taken`);
  return builder.finish(base[0] ?? 0, linkOf(trees));
}

/** One split or leaf as the attributes list it. */
interface Listed {
  readonly tree: number;
  readonly id: number;
  readonly mode: string;
  readonly column: number;
  readonly value: number;
  readonly yes: number;
  readonly no: number;
  readonly missingIsYes: boolean;
}

function theTrees(model: OnnxModel): OnnxNode {
  const trees = model.nodes.filter(
    ({ domain, op }) => domain === 'ai.onnx.ml' && op.startsWith('TreeEnsemble'),
  );
  const [first] = trees;
  if (first === undefined || trees.length > 1)
    return refuse(`expected one node of trees, got ${trees.length}`);
  if (first.op === 'TreeEnsemble') return refuse('the trees are of opset 5; convert them for opset 3');
  const other = model.nodes.find(
    (node) => node !== first && !HARMLESS.has(node.op) && !timesOne(node, model),
  );
  if (other !== undefined) refuse(`it has a node ${other.op}; only trees have a native form`);
  const aggregate = first.attributes.aggregate_function ?? 'SUM';
  if (aggregate !== 'SUM') refuse(`the trees are joined by ${String(aggregate)}`);
  return first;
}

/** LightGBM's converter multiplies the classes' probabilities by a constant one. */
function timesOne(node: OnnxNode, { initializers }: OnnxModel): boolean {
  const factor = initializers.find(({ name }) => node.inputs.includes(name));
  return node.op === 'Mul' && factor !== undefined && Array.from(factor.values).every((value) => value === 1);
}

function readSplits(trees: OnnxNode): Map<number, { root: Listed; nodes: Map<number, Listed> }> {
  const ids = numbers(trees, 'nodes_nodeids');
  const list = (name: string, tensor?: string): ArrayLike<number> => {
    const values = numbers(trees, name, tensor);
    return values.length === ids.length
      ? values
      : malformed(`${name} has ${values.length} entries for ${ids.length} nodes`);
  };
  const treeIds = list('nodes_treeids');
  const columns = list('nodes_featureids');
  const values = list('nodes_values', 'nodes_values_as_tensor');
  const yes = list('nodes_truenodeids');
  const no = list('nodes_falsenodeids');
  const modes = trees.attributes.nodes_modes;
  if (!isTexts(modes) || modes.length !== ids.length) return malformed('nodes_modes does not fit the nodes');
  const missing = numbers(trees, 'nodes_missing_value_tracks_true');
  const found = new Map<number, { root: Listed; nodes: Map<number, Listed> }>();
  for (let i = 0; i < ids.length; i++) {
    const node: Listed = {
      tree: treeIds[i] as number,
      id: ids[i] as number,
      mode: modes[i] as string,
      column: columns[i] as number,
      value: values[i] as number,
      yes: yes[i] as number,
      no: no[i] as number,
      missingIsYes: missing[i] === 1,
    };
    // The first node of a tree is its root.
    const tree = found.get(node.tree) ?? { root: node, nodes: new Map<number, Listed>() };
    if (tree.nodes.has(node.id)) malformed(`tree ${node.tree} has node ${node.id} twice`);
    tree.nodes.set(node.id, node);
    found.set(node.tree, tree);
  }
  return found;
}

/** What each leaf adds, by tree and node. */
function readLeaves(trees: OnnxNode): ReadonlyMap<string, number> {
  const isClassifier = trees.op === 'TreeEnsembleClassifier';
  const prefix = isClassifier ? 'class' : 'target';
  const weights = numbers(trees, `${prefix}_weights`, `${prefix}_weights_as_tensor`);
  const treeIds = numbers(trees, `${prefix}_treeids`);
  const nodeIds = numbers(trees, `${prefix}_nodeids`);
  const outputs = numbers(trees, `${prefix}_ids`);
  const labels = trees.attributes.classlabels_int64s ?? trees.attributes.classlabels_strings;
  if (isClassifier && Array.isArray(labels) && labels.length !== 2) {
    refuse(`it tells ${labels.length} classes apart, and two can be taken`);
  }
  const used = new Set(Array.from(outputs));
  // Two columns of class weights (a forest): the second is the probability of the second class.
  const wanted = used.size === 2 ? 1 : [...used][0];
  if (used.size > 2) refuse(`it has ${used.size} margins, and one can be taken`);
  const leaves = new Map<string, number>();
  for (let i = 0; i < weights.length; i++) {
    const key = `${treeIds[i]}:${nodeIds[i]}`;
    const weight = outputs[i] === wanted ? (weights[i] as number) : 0;
    leaves.set(key, (leaves.get(key) ?? 0) + weight);
  }
  return leaves;
}

/** Columns all of whose splits ask for equality with a small whole number: categories. */
function wholeColumns(splits: ReadonlyMap<number, { nodes: Map<number, Listed> }>): ReadonlySet<number> {
  const equal = new Set<number>();
  const other = new Set<number>();
  for (const { nodes } of splits.values()) {
    for (const { mode, column, value } of nodes.values()) {
      if (mode === 'LEAF') continue;
      const isCategory = mode === 'BRANCH_EQ' && Number.isInteger(value) && value >= 0 && value < 256;
      (isCategory ? equal : other).add(column);
    }
  }
  return equal.difference(other);
}

function nodeOf(
  node: Listed | undefined,
  leaves: ReadonlyMap<string, number>,
  wholes: ReadonlySet<number>,
): ForeignNode | undefined {
  if (node === undefined) return undefined;
  const { mode, column, value, yes, no, missingIsYes } = node;
  const straight = { column, yes, no, missing: missingIsYes ? 'yes' : 'no' } as const;
  // x > t is asked as x <= t with the branches exchanged.
  const exchanged = { column, yes: no, no: yes, missing: missingIsYes ? 'no' : 'yes' } as const;
  switch (mode) {
    case 'LEAF':
      return { kind: 'leaf', value: leaves.get(`${node.tree}:${node.id}`) ?? 0 };
    case 'BRANCH_LEQ':
      return { kind: 'number', ...straight, threshold: value };
    case 'BRANCH_LT':
      return { kind: 'number', ...straight, threshold: below(value) };
    case 'BRANCH_GT':
      return { kind: 'number', ...exchanged, threshold: value };
    case 'BRANCH_GTE':
      return { kind: 'number', ...exchanged, threshold: below(value) };
    case 'BRANCH_EQ':
      if (wholes.has(column)) return { kind: 'category', ...straight, members: [value] };
      return refuse('a column is tested for equality and for order');
    default:
      return refuse(`a split has the mode ${mode}`);
  }
}

/** The largest float32 below `x`. */
function below(x: number): number {
  const floor = floorToFloat32(x);
  return floor < x ? floor : belowFloat32(floor);
}

function linkOf(trees: OnnxNode): ImportedTrees['link'] {
  const transform = trees.attributes.post_transform ?? 'NONE';
  if (transform === 'LOGISTIC') return 'logistic';
  if (transform !== 'NONE') return refuse(`its margin is shown by ${String(transform)}`);
  return trees.op === 'TreeEnsembleClassifier' ? 'identity' : 'logistic';
}

function numbers(trees: OnnxNode, name: string, tensor?: string): ArrayLike<number> {
  const values = trees.attributes[name] ?? (tensor === undefined ? undefined : trees.attributes[tensor]);
  if (values === undefined) return [];
  if (typeof values === 'object' && 'values' in values && 'dims' in values) return values.values;
  return isNumbers(values) ? values : malformed(`${name} is no list of numbers`);
}

function isNumbers(value: OnnxAttribute): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

function isTexts(value: OnnxAttribute | undefined): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function malformed(why: string): never {
  throw new ModelError('models.malformed', `the ONNX file is not well formed: ${why}`);
}

function refuse(why: string): never {
  throw new ModelError('models.onnx-refused', `the ONNX file has no native form: ${why}`);
}
