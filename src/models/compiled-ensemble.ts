import { instantiateKernel, loadKernel, newKernelMemory } from '../base/index.ts';
import { addMargins, BITSET_WORDS, CATEGORICAL, MISSING_LEFT, type TreeEnsemble } from './tree-ensemble.ts';

/** Functions of `kernels/predict.ts`. */
interface PredictKernel {
  addBlock(roots: number, depths: number, trees: number, rows: number, stride: number, margins: number): void;
  addRow(roots: number, depths: number, trees: number, row: number, margin: number): number;
}

/** How one value of a prepared row comes from a row of the model. */
interface Slot {
  readonly column: number;
  /** Number: what stands for a missing value. */
  readonly missing: number;
  /** Category: Float32Array, 257, one a category and the last for all others: 0 goes left, 1 right. */
  readonly table?: Float32Array;
}

const BLOCK = 16;
const NODE_BYTES = 16;
const FIRST = 1024;
/** Each walk takes as many steps as the tree is deep; a tree that is mostly depth is walked plainly. */
const MAX_DEPTH = 64;

/**
 * An ensemble made ready for `kernels/predict.ts`: same margins, bit for bit, as `addMargins`. Missing values and categories are
 * settled once a row: a number has a slot where missing is infinitely large and one where it is infinitely small, a
 * set of categories has a slot of 0 and 1; so each node compares one value with one threshold. Blocks of 16 rows walk a
 * tree together; single rows walk 16 trees at once. Not for concurrent use.
 */
export class CompiledEnsemble {
  readonly #ensemble: TreeEnsemble;
  readonly #columns: number;
  readonly #kernel: PredictKernel | undefined;
  readonly #slots: readonly Slot[] = [];
  readonly #numberColumns: Uint32Array = new Uint32Array(0);
  readonly #numberMissing: Float32Array = new Float32Array(0);
  readonly #rows: Float32Array = new Float32Array(0);
  readonly #margins: Float64Array = new Float64Array(0);
  readonly #at = { roots: 0, depths: 0, groupDepths: 0, rows: 0, margins: 0 };

  constructor(ensemble: TreeEnsemble, columns: number) {
    this.#ensemble = ensemble;
    this.#columns = columns;
    const { roots, child, value } = ensemble;
    const depths = treeDepths(ensemble);
    if (roots.length === 0 || depths.some((depth) => depth > MAX_DEPTH)) return;
    const { slots, slotOf } = collectSlots(ensemble);
    // Numbers first: their loop has no branch on the kind.
    this.#slots = slots;
    const numbers = slots.filter(({ table }) => table === undefined);
    this.#numberColumns = Uint32Array.from(numbers, ({ column }) => column);
    this.#numberMissing = Float32Array.from(numbers, ({ missing }) => missing);
    const padded = Math.ceil(roots.length / BLOCK) * BLOCK;
    const nodes = child.length + 1;
    let end = FIRST;
    const take = (bytes: number): number => {
      const address = end;
      end = Math.ceil((end + bytes) / 64) * 64;
      return address;
    };
    const first = take(nodes * NODE_BYTES);
    const stride = slots.length * 4;
    this.#at.roots = take(padded * 4);
    this.#at.depths = take(padded * 4);
    this.#at.groupDepths = take((padded / BLOCK) * 4);
    this.#at.rows = take(BLOCK * stride);
    this.#at.margins = take(BLOCK * 8);
    const pages = Math.ceil(end / 65_536);
    const memory = newKernelMemory({ initialPages: pages, maximumPages: pages });
    this.#kernel = instantiateKernel<PredictKernel>(loadKernel('predict'), memory);
    const floats = new Float32Array(memory.buffer);
    const words = new Uint32Array(memory.buffer);
    // The last node is a leaf of 0, the root of the trees that fill the last group.
    for (let n = 0; n < nodes; n++) {
      const at = (first + n * NODE_BYTES) / 4;
      const left = n < child.length ? (child[n] as number) : 0;
      const isLeaf = left === 0;
      const isCategory = !isLeaf && ((ensemble.flags[n] as number) & CATEGORICAL) !== 0;
      floats[at] = isLeaf ? Number.POSITIVE_INFINITY : isCategory ? 0.5 : (value[n] as number);
      words[at + 1] = isLeaf ? 0 : (slotOf[n] as number) * 4;
      words[at + 2] = first + (isLeaf ? n : left) * NODE_BYTES;
      floats[at + 3] = isLeaf && n < child.length ? (value[n] as number) : 0;
    }
    for (let t = 0; t < padded; t++) {
      words[this.#at.roots / 4 + t] = first + (roots[t] ?? nodes - 1) * NODE_BYTES;
      words[this.#at.depths / 4 + t] = depths[t] ?? 0;
      const group = this.#at.groupDepths / 4 + Math.floor(t / BLOCK);
      words[group] = Math.max(words[group] as number, depths[t] ?? 0);
    }
    this.#rows = new Float32Array(memory.buffer, this.#at.rows, BLOCK * slots.length);
    this.#margins = new Float64Array(memory.buffer, this.#at.margins, BLOCK);
  }

  /** As `addMargins` over all trees; arguments are checked by the caller. */
  addMargins(values: Float32Array, firstRow: number, rows: number, margins: Float64Array): void {
    const trees = this.#ensemble.roots.length;
    const columns = this.#columns;
    if (this.#kernel === undefined) {
      addMargins(this.#ensemble, 0, trees, values, columns, firstRow, rows, margins);
      return;
    }
    const at = this.#at;
    const width = this.#slots.length;
    let r = 0;
    for (; r + BLOCK <= rows; r += BLOCK) {
      for (let i = 0; i < BLOCK; i++) {
        this.#prepare(values, (firstRow + r + i) * columns, i * width);
        this.#margins[i] = margins[r + i] as number;
      }
      this.#kernel.addBlock(at.roots, at.depths, trees, at.rows, width * 4, at.margins);
      for (let i = 0; i < BLOCK; i++) margins[r + i] = this.#margins[i] as number;
    }
    const padded = Math.ceil(trees / BLOCK) * BLOCK;
    for (; r < rows; r++) {
      this.#prepare(values, (firstRow + r) * columns, 0);
      margins[r] = this.#kernel.addRow(at.roots, at.groupDepths, padded, at.rows, margins[r] as number);
    }
  }

  #prepare(values: Float32Array, from: number, to: number): void {
    const rows = this.#rows;
    const columns = this.#numberColumns;
    const missing = this.#numberMissing;
    const numbers = columns.length;
    for (let s = 0; s < numbers; s++) {
      const x = values[from + (columns[s] as number)] as number;
      // biome-ignore lint/suspicious/noSelfCompare: a missing value differs from itself.
      rows[to + s] = x === x ? x : (missing[s] as number);
    }
    for (let s = numbers; s < this.#slots.length; s++) {
      const { column, table } = this.#slots[s] as Slot;
      const x = values[from + column] as number;
      rows[to + s] = (table as Float32Array)[x >= 0 && x < 256 ? Math.trunc(x) : 256] as number;
    }
  }
}

/** Longest way from root to leaf, one a tree. */
function treeDepths({ roots, child }: TreeEnsemble): number[] {
  const depth = new Uint32Array(child.length);
  return Array.from(roots, (root, t) => {
    let deepest = 0;
    for (let n = root; n < (roots[t + 1] ?? child.length); n++) {
      const left = child[n] as number;
      deepest = Math.max(deepest, depth[n] as number);
      if (left !== 0) depth.fill((depth[n] as number) + 1, left, left + 2);
    }
    return deepest;
  });
}

/** The slots that the nodes need, numbers first, and each inner node's. */
function collectSlots(ensemble: TreeEnsemble): { slots: Slot[]; slotOf: Uint32Array } {
  const { child, feature, flags, block, bitsets } = ensemble;
  const keys = new Map<string, { slot: Slot; nodes: number[] }>();
  for (let n = 0; n < child.length; n++) {
    if (child[n] === 0) continue;
    const column = feature[n] as number;
    const flag = flags[n] as number;
    const isCategory = (flag & CATEGORICAL) !== 0;
    const from = (block[n] as number) * BITSET_WORDS;
    const words = isCategory ? bitsets.subarray(from, from + BITSET_WORDS) : undefined;
    const key = `${column} ${flag} ${words?.join(' ') ?? ''}`;
    const known = keys.get(key);
    if (known !== undefined) {
      known.nodes.push(n);
      continue;
    }
    const missingLeft = (flag & MISSING_LEFT) !== 0;
    const slot: Slot = {
      column,
      missing: missingLeft ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
      ...(words && {
        table: Float32Array.from({ length: 257 }, (_, c) =>
          c === 256 ? Number(!missingLeft) : (((words[c >> 5] as number) >>> (c & 31)) & 1) ^ 1,
        ),
      }),
    };
    keys.set(key, { slot, nodes: [n] });
  }
  const ordered = [...keys.values()].sort((a, b) => Number(!!a.slot.table) - Number(!!b.slot.table));
  const slotOf = new Uint32Array(child.length);
  ordered.forEach(({ nodes }, s) => {
    for (const n of nodes) slotOf[n] = s;
  });
  return { slots: ordered.map(({ slot }) => slot), slotOf };
}
