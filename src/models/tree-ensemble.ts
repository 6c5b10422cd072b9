import { ModelError } from './errors.ts';

/** The node splits a category by a bitset instead of a number by a threshold. */
export const CATEGORICAL = 1;
/** A missing value goes to the left child; without it, to the right. */
export const MISSING_LEFT = 2;
/** 32-bit words in one bitset: 256 categories. */
export const BITSET_WORDS = 8;

/**
 * Additive decision trees in flat arrays, one entry a node. Trees lie one behind the other, children behind their
 * parent and side by side: the right child is `child + 1`. The root of tree t is `roots[t]`.
 */
export interface TreeEnsemble {
  /** Uint32Array, one a tree: index of its root; ascending, the first is 0. */
  readonly roots: Uint32Array;
  /** Left child, or 0 for a leaf. */
  readonly child: Uint32Array;
  /** Column that is tested; 0 in a leaf. */
  readonly feature: Uint16Array;
  /** Threshold of a number (`x <= value` goes left), or what a leaf adds to the margin. */
  readonly value: Float32Array;
  /** CATEGORICAL and MISSING_LEFT. */
  readonly flags: Uint8Array;
  /** Which bitset a categorical node uses, in blocks of BITSET_WORDS. */
  readonly block: Uint32Array;
  /** Training rows that reached the node; weighs the node means of `explain`. */
  readonly cover: Uint32Array;
  /** Bitsets: a set bit sends its category left. A category never seen in training goes where missing goes. */
  readonly bitsets: Uint32Array;
}

/**
 * Adds the leaves of trees [fromTree, toTree) to `margins`: one row after the other inside each tree, so that a tree
 * stays in cache. Values: Float32Array, row-major rows x columns; margins: Float64Array, at least `rows`.
 * Hot: the arguments are checked by the caller.
 */
export function addMargins(
  ensemble: TreeEnsemble,
  fromTree: number,
  toTree: number,
  values: Float32Array,
  columns: number,
  firstRow: number,
  rows: number,
  margins: Float64Array,
): void {
  const { roots, child, feature, value, flags, block, bitsets } = ensemble;
  const first = firstRow * columns;
  for (let t = fromTree; t < toTree; t++) {
    const root = roots[t] as number;
    for (let r = 0, base = first; r < rows; r++, base += columns) {
      let node = root;
      let next = child[node] as number;
      while (next !== 0) {
        const x = values[base + (feature[node] as number)] as number;
        const flag = flags[node] as number;
        if ((flag & CATEGORICAL) !== 0) {
          // Written so that NaN fails the comparison and goes the way of the missing.
          if (x >= 0 && x < 256) {
            const word = bitsets[(block[node] as number) * BITSET_WORDS + (x >>> 5)] as number;
            node = next + (((word >>> (x & 31)) & 1) ^ 1);
          } else node = next + (((flag >> 1) & 1) ^ 1);
        } else if (x <= (value[node] as number)) node = next;
        else node = Number.isNaN(x) && (flag & MISSING_LEFT) !== 0 ? next : next + 1;
        next = child[node] as number;
      }
      margins[r] = (margins[r] as number) + (value[node] as number);
    }
  }
}

/**
 * Margins of a whole ensemble, bias included: Float64Array, one a row. The column count follows from the lengths.
 */
export function sumMargins(
  ensemble: TreeEnsemble,
  bias: number,
  values: Float32Array,
  rows: number,
): Float64Array {
  const margins = new Float64Array(rows).fill(bias);
  const columns = rows === 0 ? 0 : values.length / rows;
  addMargins(ensemble, 0, ensemble.roots.length, values, columns, 0, rows, margins);
  return margins;
}

/** Whether `x` goes left at an inner node; the plain form of what `addMargins` has inlined. */
export function goesLeft(ensemble: TreeEnsemble, node: number, x: number): boolean {
  const flag = ensemble.flags[node] as number;
  const missingLeft = (flag & MISSING_LEFT) !== 0;
  if (Number.isNaN(x)) return missingLeft;
  if ((flag & CATEGORICAL) === 0) return x <= (ensemble.value[node] as number);
  if (x < 0 || x >= 256) return missingLeft;
  const category = Math.trunc(x);
  const word = ensemble.bitsets[(ensemble.block[node] as number) * BITSET_WORDS + (category >> 5)] as number;
  return ((word >>> (category & 31)) & 1) === 1;
}

/**
 * Refuses an ensemble that a walk could leave or circle in: every array has the nodes' length, every child lies behind
 * its parent and inside its tree, every node but a root has exactly one parent, columns and bitsets exist, numbers are
 * finite. `categories` holds a column's number of categories, 0 for a number. Throws models.malformed. O(nodes).
 */
export function checkEnsemble(ensemble: TreeEnsemble, categories: readonly number[]): void {
  const { roots, child, feature, value, flags, block, cover, bitsets } = ensemble;
  const nodes = child.length;
  for (const [name, array] of Object.entries({ feature, value, flags, block, cover })) {
    if (array.length !== nodes) refuse(`${name} has ${array.length} entries for ${nodes} nodes`);
  }
  if (bitsets.length % BITSET_WORDS !== 0) refuse(`the bitsets have ${bitsets.length} words`);
  const blocks = bitsets.length / BITSET_WORDS;
  if (roots.length === 0 ? nodes !== 0 : roots[0] !== 0) refuse('the first tree does not begin at node 0');
  const hasParent = new Uint8Array(nodes);
  for (let t = 0; t < roots.length; t++) {
    const start = roots[t] as number;
    const end = t + 1 < roots.length ? (roots[t + 1] as number) : nodes;
    if (end <= start || end > nodes) refuse(`tree ${t} spans nodes ${start} to ${end} of ${nodes}`);
    for (let n = start; n < end; n++) {
      const left = child[n] as number;
      const flag = flags[n] as number;
      if (!Number.isFinite(value[n])) refuse(`node ${n} has the value ${value[n]}`);
      if (left === 0) {
        if (flag !== 0) refuse(`leaf ${n} has flags`);
      } else {
        if (left <= n || left + 1 >= end) refuse(`node ${n} has children at ${left} outside (${n}, ${end})`);
        if (hasParent[left] !== 0 || hasParent[left + 1] !== 0) refuse(`node ${left} has two parents`);
        hasParent[left] = 1;
        hasParent[left + 1] = 1;
        const size = categories[feature[n] as number];
        if (size === undefined) refuse(`node ${n} tests column ${feature[n]}`);
        if (flag > 3 || (flag & CATEGORICAL) !== (size === 0 ? 0 : CATEGORICAL)) {
          refuse(`node ${n} has flags ${flag}, which do not fit its column`);
        }
        if (size !== 0 && (block[n] as number) >= blocks) refuse(`node ${n} names bitset ${block[n]}`);
      }
    }
    for (let n = start + 1; n < end; n++) if (hasParent[n] !== 1) refuse(`node ${n} has no parent`);
  }
}

function refuse(message: string): never {
  throw new ModelError('models.malformed', message);
}
