import { z } from 'zod';
import type { BinnedRows } from '../binning.ts';
import type { GrownTree } from '../grow-tree.ts';
import { refused } from './message.ts';

/** Where the rows of a leaf go: bit b % 8 of byte b / 8 says that bin b goes left. 32 bytes as base64. */
export const sidesSchema = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);

export const wireTreeSchema = z.strictObject({
  output: z.int().min(0).max(255),
  /** Left child, 0 for a leaf; children lie side by side behind their parent. */
  child: z.array(z.int().min(0).max(4096)).min(1).max(4096),
  /** Column of the binning, -1 for a leaf. */
  feature: z.array(z.int().min(-1).max(65_535)),
  left: z.array(z.union([sidesSchema, z.literal('')])),
  /** What a leaf adds to the margin, a float32. */
  value: z.array(z.number()),
});

/** A finished tree, with as much of it as is needed to compute margins anew. */
export type WireTree = z.output<typeof wireTreeSchema>;

export function packSides(left: Uint8Array): string {
  const bits = new Uint8Array(32);
  for (let b = 0; b < 256; b++) if (left[b] === 1) bits[b >> 3]! |= 1 << (b & 7);
  return Buffer.from(bits).toString('base64');
}

/** Uint8Array, 256, one a bin: 1 goes left. */
export function unpackSides(text: string): Uint8Array {
  const bits = Buffer.from(text, 'base64');
  return Uint8Array.from({ length: 256 }, (_, b) => ((bits[b >> 3] as number) >> (b & 7)) & 1);
}

export function wireTree({ child, split, value }: GrownTree, output: number): WireTree {
  return {
    output,
    child,
    feature: split.map((s) => s?.feature ?? -1),
    left: split.map((s) => (s === undefined ? '' : packSides(s.left))),
    value: value.map((v) => Math.fround(v)),
  };
}

/** Refuses a tree that would not end or reads beyond the rows. Throws `training.message-refused`. */
export function checkTree(tree: WireTree, outputs: number, columns: number): WireTree {
  const { output, child, feature, left, value } = tree;
  const nodes = child.length;
  const isWhole =
    output < outputs &&
    [feature, left, value].every((list) => list.length === nodes) &&
    child.every((to, i) => {
      if (to === 0) return feature[i] === -1;
      return to > i && to + 1 < nodes && (feature[i] as number) >= 0 && (feature[i] as number) < columns;
    }) &&
    child.every((to, i) => to === 0 || left[i] !== '');
  if (!isWhole) throw refused('a tree of the run is malformed');
  return tree;
}

/** Adds what a tree says of each row to its margins, as the rounds that grew it did; margins: Float64Array, one a row. */
export function addTree(tree: WireTree, { bins, rows }: BinnedRows, margins: Float64Array): void {
  const { child, feature, value } = tree;
  const sides = tree.left.map((text) => (text === '' ? undefined : unpackSides(text)));
  for (let r = 0; r < rows; r++) {
    let node = 0;
    for (let next = child[0] as number; next !== 0; next = child[node] as number) {
      const bin = bins[(feature[node] as number) * rows + r] as number;
      node = next + 1 - ((sides[node] as Uint8Array)[bin] as number);
    }
    margins[r] = (margins[r] as number) + (value[node] as number);
  }
}
