import { ModelError } from '../errors.ts';
import { EnsembleBuilder, type ForeignNode, type ImportedTrees } from './imported-trees.ts';

/** Bits of `decision_type`. */
const IS_CATEGORICAL = 1;
const DEFAULT_LEFT = 2;
const MISSING = { none: 0, zero: 1, nan: 2 } as const;

/**
 * The trees of a LightGBM text model (`Booster.save_model`) with objective binary or regression. Throws
 * `models.malformed`, and `models.onnx-refused` for several classes, linear leaves, or columns whose zeros are missing.
 */
export function importLightGbm(text: string): ImportedTrees {
  const [head = '', ...blocks] = text.split(/\r?\n\r?\n(?=Tree=)/);
  const header = readFields(head);
  if (!head.startsWith('tree')) malformed('it does not begin with "tree"');
  if ((header.num_class ?? '1') !== '1') refuse(`it tells ${header.num_class} classes apart`);
  const objective = (header.objective ?? '').split(' ');
  const slope = Number(objective.find((word) => word.startsWith('sigmoid:'))?.slice(8) ?? 1);
  if (slope !== 1) refuse(`its margin is shown with the slope ${slope}`);
  const columns = Number(header.max_feature_idx) + 1;
  if (!(Number.isInteger(columns) && columns > 0 && columns <= 65_536))
    malformed('max_feature_idx is missing');
  const builder = new EnsembleBuilder(columns);
  for (const block of blocks) addTree(builder, readFields(block.split(/\r?\n\r?\n/)[0] ?? ''));
  return builder.finish(0, 'logistic');
}

function addTree(builder: EnsembleBuilder, tree: Readonly<Record<string, string>>): void {
  if ((tree.is_linear ?? '0') !== '0') refuse('its leaves are linear');
  const leaves = list(tree, 'leaf_value');
  if (leaves.length === 1) {
    builder.addTree(0, () => ({ kind: 'leaf', value: leaves[0] as number }));
    return;
  }
  const columns = list(tree, 'split_feature');
  const thresholds = list(tree, 'threshold');
  const types = list(tree, 'decision_type');
  const left = list(tree, 'left_child');
  const right = list(tree, 'right_child');
  const boundaries = list(tree, 'cat_boundaries');
  const words = list(tree, 'cat_threshold');
  for (const array of [thresholds, types, left, right]) {
    if (array.length !== columns.length || columns.length !== leaves.length - 1)
      malformed('lists of a tree differ in length');
  }
  // A leaf is the bitwise complement of its number; inner nodes count from 0.
  builder.addTree(0, (id): ForeignNode | undefined => {
    if (id < 0) return leaves[~id] === undefined ? undefined : { kind: 'leaf', value: leaves[~id] as number };
    const type = types[id];
    if (type === undefined) return undefined;
    const split = { column: columns[id] as number, yes: left[id] as number, no: right[id] as number };
    const missing = (type >> 2) & 3;
    if (missing === MISSING.zero) return refuse('a column counts zeros as missing');
    if ((type & IS_CATEGORICAL) !== 0) {
      const at = thresholds[id] as number;
      const members = membersOf(words.slice(boundaries[at], boundaries[at + 1]));
      // Without missing values in training, one counts as category 0.
      const isYes = missing === MISSING.none && members.includes(0);
      return { kind: 'category', ...split, members, missing: isYes ? 'yes' : 'no' };
    }
    const threshold = thresholds[id] as number;
    const isYes = missing === MISSING.nan ? (type & DEFAULT_LEFT) !== 0 : threshold >= 0;
    return { kind: 'number', ...split, threshold, missing: isYes ? 'yes' : 'no' };
  });
}

function membersOf(words: readonly number[]): number[] {
  return words.flatMap((word, w) =>
    Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => ((word >>> bit) & 1) === 1)
      .map((bit) => w * 32 + bit),
  );
}

function readFields(block: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf('=');
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1);
  }
  return fields;
}

function list(fields: Readonly<Record<string, string>>, name: string): number[] {
  const text = fields[name]?.trim() ?? '';
  return text === '' ? [] : text.split(' ').map(Number);
}

function malformed(why: string): never {
  throw new ModelError('models.malformed', `the LightGBM model is not well formed: ${why}`);
}

function refuse(why: string): never {
  throw new ModelError('models.onnx-refused', `the LightGBM model has no native form: ${why}`);
}
