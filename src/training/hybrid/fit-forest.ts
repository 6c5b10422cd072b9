import type { SeededRandom } from '../../base/index.ts';
import { deterministicLog, type TreeEnsemble } from '../../models/index.ts';

export interface ForestOptions {
  readonly trees: number;
  /** Points drawn for each tree, without replacement. */
  readonly sample: number;
  /** Called between trees: who slows training down, or breaks it off, does it here. */
  readonly turn?: (() => Promise<void>) | undefined;
}

const EULER = 0.5772156649015329;

/**
 * An isolation forest (Liu, Ting and Zhou, 2008) as an ensemble whose leaves hold minus the path length, divided by the
 * number of trees: the sum over the trees is minus the mean depth at which a point is alone, higher for stranger points.
 * Points: Float32Array, row-major rows x width. A dimension is drawn among those that still vary.
 */
export async function fitForest(
  points: Float32Array,
  width: number,
  { trees, sample, turn }: ForestOptions,
  random: SeededRandom,
): Promise<TreeEnsemble> {
  const rows = points.length / width;
  const size = Math.min(sample, rows);
  const limit = Math.ceil(Math.log2(Math.max(2, size)));
  const roots = new Uint32Array(trees);
  const child: number[] = [];
  const feature: number[] = [];
  const value: number[] = [];
  const cover: number[] = [];
  const order = Uint32Array.from({ length: rows }, (_, r) => r);
  for (let t = 0; t < trees; t++) {
    await turn?.();
    // The first places of a shuffle, begun anew on what the last tree left.
    for (let i = 0; i < size; i++) {
      const j = random.integer(i, rows - 1);
      const held = order[i] as number;
      order[i] = order[j] as number;
      order[j] = held;
    }
    roots[t] = child.length;
    const open: { node: number; rows: Uint32Array; depth: number }[] = [];
    const add = (part: Uint32Array, depth: number): void => {
      open.push({ node: child.length, rows: part, depth });
      child.push(0);
      feature.push(0);
      value.push(-(depth + expectedDepth(part.length)) / trees);
      cover.push(part.length);
    };
    add(order.slice(0, size), 0);
    for (let next = open.shift(); next !== undefined; next = open.shift()) {
      const { node, rows: part, depth } = next;
      if (depth >= limit || part.length < 2) continue;
      const cut = drawCut(points, width, part, random);
      if (cut === undefined) continue;
      const left = part.filter((r) => (points[r * width + cut.dimension] as number) <= cut.value);
      const right = part.filter((r) => (points[r * width + cut.dimension] as number) > cut.value);
      child[node] = child.length;
      feature[node] = cut.dimension;
      value[node] = cut.value;
      add(left, depth + 1);
      add(right, depth + 1);
    }
  }
  const nodes = child.length;
  return {
    roots,
    child: Uint32Array.from(child),
    feature: Uint16Array.from(feature),
    value: Float32Array.from(value),
    flags: new Uint8Array(nodes),
    block: new Uint32Array(nodes),
    cover: Uint32Array.from(cover),
    bitsets: new Uint32Array(0),
  };
}

/** Mean depth of an unsuccessful search in a binary tree of n points: what a leaf that still holds n adds. */
function expectedDepth(n: number): number {
  if (n < 2) return 0;
  return 2 * (deterministicLog(n - 1) + EULER) - (2 * (n - 1)) / n;
}

function drawCut(points: Float32Array, width: number, rows: Uint32Array, random: SeededRandom) {
  const left = Array.from({ length: width }, (_, d) => d);
  while (left.length > 0) {
    const at = random.integer(0, left.length - 1);
    const dimension = left[at] as number;
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const r of rows) {
      const x = points[r * width + dimension] as number;
      if (x < low) low = x;
      if (x > high) high = x;
    }
    if (low < high) {
      const value = Math.fround(random.uniform(low, high));
      return { dimension, value: value < high ? value : low };
    }
    left[at] = left.at(-1) as number;
    left.pop();
  }
  return undefined;
}
