import type { TrainingConfig } from './config.ts';
import type { HistogramSource, LeafSplit, LeafState, LeafSums } from './histogram-source.ts';
import { FIXED_POINT } from './objective.ts';
import { type Split, type SplitFinder, UNBOUNDED, type ValueBounds } from './split.ts';

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

export interface GrowOptions {
  readonly output: number;
  readonly features: readonly number[];
  /** One a column, of `config.monotone`. */
  readonly monotone: Int8Array;
  readonly learningRate: number;
  readonly limits: Pick<TrainingConfig, 'maxLeaves' | 'maxDepth' | 'treeRounds'>;
}

interface Leaf {
  readonly node: number;
  readonly depth: number;
  readonly bounds: ValueBounds;
  readonly best: Split | undefined;
}

/**
 * Grows one tree in batches of leaves, the ones with the largest gain first: each batch takes an even part of the cuts that
 * are left, so that a tree takes few rounds of the source, and a source works on many leaves at once. The
 * last batch needs no histograms. Adds the leaves to the margins of the source.
 */
export async function growTree(
  source: HistogramSource,
  finder: SplitFinder,
  options: GrowOptions,
): Promise<GrownTree> {
  const { output, features, monotone, learningRate, limits } = options;
  const find = (state: LeafState, depth: number, bounds: ValueBounds): Split | undefined =>
    limits.maxDepth !== 0 && depth >= limits.maxDepth ? undefined : finder.find(state, features, bounds);
  const root = await source.openTree(output, features);
  const tree: GrownTree = { child: [0], split: [undefined], value: [0], cover: [root.rows] };
  const leaves: Leaf[] = [{ node: 0, depth: 0, bounds: UNBOUNDED, best: find(root, 0, UNBOUNDED) }];
  let sums: readonly LeafSums[] | undefined;
  // The root's histogram is the first round.
  for (let left = limits.treeRounds - 1; sums === undefined; left--) {
    const wanted = limits.maxLeaves - leaves.length;
    const batch = largestGains(leaves, Math.ceil(wanted / left));
    const splits = batch.map((leaf, i): LeafSplit => {
      const { feature, left } = (leaves[leaf] as Leaf).best as Split;
      return { leaf, right: leaves.length + i, feature, left };
    });
    const isLast = batch.length === 0 || batch.length === wanted || left === 1;
    const divided = isLast ? undefined : await source.divide(splits);
    if (divided?.length === 0) {
      sums = await source.closeTree([]);
      break;
    }
    sums = isLast ? await source.closeTree(splits) : undefined;
    splits.forEach(({ leaf, right }, i) => {
      const { node, depth, bounds, best } = leaves[leaf] as Leaf;
      const split = best as Split;
      const child = tree.child.length;
      tree.child[node] = child;
      tree.split[node] = split;
      tree.child.push(0, 0);
      tree.split.push(undefined, undefined);
      tree.value.push(0, 0);
      tree.cover.push(divided?.[i]?.left.rows ?? 0, divided?.[i]?.right.rows ?? 0);
      const [below, above] = boundsOf(split, bounds, monotone);
      const make = (at: number, side: LeafState | undefined, within: ValueBounds): Leaf => ({
        node: at,
        depth: depth + 1,
        bounds: within,
        best: side && find(side, depth + 1, within),
      });
      leaves[leaf] = make(child, divided?.[i]?.left, below);
      leaves[right] = make(child + 1, divided?.[i]?.right, above);
    });
  }
  const values = new Float32Array(leaves.length);
  leaves.forEach(({ node, bounds }, i) => {
    const { rows, gradient, hessian } = (sums as readonly LeafSums[])[i] as LeafSums;
    values[i] = learningRate * finder.leafValue(gradient, hessian, FIXED_POINT, bounds);
    tree.value[node] = values[i] as number;
    tree.cover[node] = rows;
  });
  await source.addLeaves(values);
  return tree;
}

/** The leaves with the largest gains, at most `count`, the largest first; ties go to the older leaf. */
function largestGains(leaves: readonly Leaf[], count: number): number[] {
  return [...leaves.keys()]
    .filter((i) => leaves[i]?.best !== undefined)
    .sort((a, b) => (leaves[b]?.best?.gain ?? 0) - (leaves[a]?.best?.gain ?? 0) || a - b)
    .slice(0, count);
}

/** A cut of a monotone column keeps its sides' values on either side of their middle, all the way down. */
function boundsOf(
  { feature, middle }: Split,
  bounds: ValueBounds,
  monotone: Int8Array,
): readonly [ValueBounds, ValueBounds] {
  if (middle === undefined) return [bounds, bounds];
  const below = { low: bounds.low, high: middle };
  const above = { low: middle, high: bounds.high };
  return (monotone[feature] as number) > 0 ? [below, above] : [above, below];
}
