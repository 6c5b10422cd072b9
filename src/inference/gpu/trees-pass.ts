/// <reference types="@webgpu/types" />
import type { PackedTrees } from './packed-trees.ts';
import type { DevicePass, DeviceTurn } from './scoring-device.ts';
import { TREES_SHADER, WORKGROUP } from './shaders.ts';

/** Invocations that keep a device busy. */
export const BUSY = 131_072;

export interface TreesWork {
  readonly values: GPUBuffer;
  readonly columns: number;
  readonly rows: number;
  readonly results: GPUBuffer;
  /** Which rows; all where it is left out. */
  readonly order?: GPUBuffer;
}

/** Sums of an ensemble's leaves, 2 words a row and head: with few rows, more invocations share the trees of one. */
export function treesPass(turn: DeviceTurn, trees: PackedTrees, work: TreesWork): DevicePass {
  const { values, columns, rows, results, order } = work;
  const [nodes, roots, bitsets] = [
    turn.table(trees.nodes),
    turn.table(trees.roots),
    turn.table(trees.bitsets),
  ];
  const wanted = Math.ceil(BUSY / (rows * trees.heads));
  const groups = 2 ** Math.max(0, Math.min(6, Math.ceil(Math.log2(wanted))));
  return {
    shader: TREES_SHADER,
    shape: [rows, columns, trees.heads, groups, order === undefined ? 0 : 1],
    // Not read where all rows are meant; something must be bound.
    buffers: [values, nodes, roots, bitsets, order ?? roots, results],
    x: Math.ceil(rows / (WORKGROUP / groups)),
    y: trees.heads,
  };
}
