import type { BinnedRows } from './binning.ts';
import type { TrainingConfig } from './config.ts';
import { HistogramBuilder, subtractHistogram } from './histogram.ts';
import type { QuantizationScales } from './quantization.ts';
import { type Split, SplitFinder, type SplitLimits } from './split.ts';

/** One grown tree. Arrays have one entry a node; children lie side by side behind their parent. */
export interface GrownTree {
  /** Left child, 0 for a leaf. */
  readonly child: number[];
  readonly split: (Split | undefined)[];
  /** What a leaf adds to the margin, a float32; 0 in inner nodes. */
  readonly value: number[];
  /** Training rows that reached the node. */
  readonly cover: number[];
}

/** Gradients of one round. */
export interface RoundGradients {
  /** Quantized, for the search of splits; see `packGradients`. */
  readonly packed: Float64Array;
  /** Fixed point, for the values of the leaves. */
  readonly gradients: Int32Array;
  readonly hessians: Int32Array;
}

export type TreeLimits = SplitLimits & Pick<TrainingConfig, 'maxLeaves' | 'learningRate'>;

interface Leaf {
  readonly node: number;
  readonly from: number;
  readonly to: number;
  readonly histogram: Int32Array;
  readonly best: Split | undefined;
}

/**
 * Grows trees leaf by leaf, the leaf with the largest gain first. The smaller child's histogram is built, the other is
 * the parent's minus it. All memory is taken once, at construction. Not for concurrent use.
 */
export class TreeLearner {
  readonly #binned: BinnedRows;
  readonly #limits: TreeLimits;
  readonly #builder: HistogramBuilder;
  readonly #finder: SplitFinder;
  readonly #rows: Uint32Array;
  readonly #scratch: Uint32Array;
  readonly #free: Int32Array[] = [];
  /** FIXED_POINT: what one in the fixed-point gradients is worth. */
  readonly #unit: number;

  constructor(
    binned: BinnedRows,
    scales: QuantizationScales,
    limits: TreeLimits,
    unit: number,
    blockRows?: number,
  ) {
    this.#binned = binned;
    this.#limits = limits;
    this.#builder = new HistogramBuilder(binned, blockRows);
    this.#finder = new SplitFinder(binned.binning, scales, limits);
    this.#rows = new Uint32Array(binned.rows);
    this.#scratch = new Uint32Array(binned.rows);
    this.#unit = unit;
  }

  /**
   * Grows one tree on these rows and columns, and adds its leaves to `margins` (Float64Array, one a row) of exactly
   * these rows.
   */
  grow(
    round: RoundGradients,
    rows: Uint32Array,
    features: readonly number[],
    margins: Float64Array,
  ): GrownTree {
    this.#rows.set(rows);
    const tree: GrownTree = { child: [0], split: [undefined], value: [0], cover: [rows.length] };
    const histogram = this.#take();
    this.#builder.build(round.packed, this.#rows, 0, rows.length, histogram);
    const root = {
      node: 0,
      from: 0,
      to: rows.length,
      histogram,
      best: this.#finder.find(histogram, features),
    };
    const leaves: Leaf[] = [root];
    while (leaves.length < this.#limits.maxLeaves) {
      const at = indexOfLargestGain(leaves);
      if (at === -1) break;
      const [left, right] = this.#divide(leaves[at] as Leaf, tree, round, features);
      leaves[at] = left;
      leaves.push(right);
    }
    for (const leaf of leaves) {
      this.#close(leaf, tree, round, margins);
      this.#free.push(leaf.histogram);
    }
    return tree;
  }

  #divide(leaf: Leaf, tree: GrownTree, round: RoundGradients, features: readonly number[]): [Leaf, Leaf] {
    const split = leaf.best as Split;
    const middle = this.#partition(leaf, split);
    const node = tree.child.length;
    tree.child[leaf.node] = node;
    tree.split[leaf.node] = split;
    tree.child.push(0, 0);
    tree.split.push(undefined, undefined);
    tree.value.push(0, 0);
    tree.cover.push(middle - leaf.from, leaf.to - middle);
    const leftIsSmaller = middle - leaf.from <= leaf.to - middle;
    const small = this.#take();
    if (leftIsSmaller) this.#builder.build(round.packed, this.#rows, leaf.from, middle, small);
    else this.#builder.build(round.packed, this.#rows, middle, leaf.to, small);
    subtractHistogram(leaf.histogram, small);
    const [left, right] = leftIsSmaller ? [small, leaf.histogram] : [leaf.histogram, small];
    return [
      { node, from: leaf.from, to: middle, histogram: left, best: this.#finder.find(left, features) },
      {
        node: node + 1,
        from: middle,
        to: leaf.to,
        histogram: right,
        best: this.#finder.find(right, features),
      },
    ];
  }

  /** Stable: rows that go left first, each side in its old order. Gives where the right side begins. */
  #partition(leaf: Leaf, split: Split): number {
    const { bins, binning } = this.#binned;
    const width = binning.columns.length;
    const rows = this.#rows;
    let left = leaf.from;
    let right = 0;
    for (let i = leaf.from; i < leaf.to; i++) {
      const row = rows[i] as number;
      const goesLeft = split.left[bins[row * width + split.feature] as number] as number;
      // Both are written, one counts: no branch to mispredict.
      rows[left] = row;
      this.#scratch[right] = row;
      left += goesLeft;
      right += 1 - goesLeft;
    }
    rows.set(this.#scratch.subarray(0, right), left);
    return left;
  }

  /** Leaf value -rate G / (H + l2) from exact sums, rounded to float32 as the model will hold it. */
  #close(leaf: Leaf, tree: GrownTree, round: RoundGradients, margins: Float64Array): void {
    let g = 0;
    let h = 0;
    for (let i = leaf.from; i < leaf.to; i++) {
      const row = this.#rows[i] as number;
      g += round.gradients[row] as number;
      h += round.hessians[row] as number;
    }
    const denominator = h + this.#limits.l2 * this.#unit;
    const value = denominator > 0 ? Math.fround((-this.#limits.learningRate * g) / denominator) : 0;
    tree.value[leaf.node] = value;
    for (let i = leaf.from; i < leaf.to; i++) {
      const row = this.#rows[i] as number;
      margins[row] = (margins[row] as number) + value;
    }
  }

  #take(): Int32Array {
    return this.#free.pop() ?? new Int32Array(this.#builder.size);
  }
}

/** Adds a tree's leaves to the margins of binned rows, walking by bins; for rows the tree was not grown on. */
export function addTreeMargins(
  tree: GrownTree,
  binned: BinnedRows,
  margins: Float64Array,
  rows?: Uint32Array,
): void {
  const width = binned.binning.columns.length;
  const count = rows?.length ?? binned.rows;
  for (let i = 0; i < count; i++) {
    const row = rows === undefined ? i : (rows[i] as number);
    let node = 0;
    for (let left = tree.child[0] as number; left !== 0; left = tree.child[node] as number) {
      const split = tree.split[node] as Split;
      node = left + 1 - (split.left[binned.bins[row * width + split.feature] as number] as number);
    }
    margins[row] = (margins[row] as number) + (tree.value[node] as number);
  }
}

function indexOfLargestGain(leaves: readonly Leaf[]): number {
  let at = -1;
  let gain = 0;
  leaves.forEach((leaf, i) => {
    if (leaf.best !== undefined && leaf.best.gain > gain) {
      at = i;
      gain = leaf.best.gain;
    }
  });
  return at;
}
