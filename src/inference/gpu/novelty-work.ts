/// <reference types="@webgpu/types" />
import type { Bytes } from '../../base/index.ts';
import { encodePoints, type NoveltyParts, tailLevel } from '../../models/index.ts';
import type { PackedNovelty } from './packed-novelty.ts';
import { fromFixed, type PackedTrees } from './packed-trees.ts';
import { align, type DevicePass, type DeviceTurn, workgroups } from './scoring-device.ts';
import { ERROR_SHADER, LAYER_SHADER, NEAREST_SHADER } from './shaders.ts';
import { BUSY, treesPass } from './trees-pass.ts';

/** The detectors of a model, as they are and as a device has them. */
export interface DeviceNovelty {
  readonly parts: NoveltyParts;
  readonly packed: PackedNovelty;
  /** As in `checkEnsemble`. */
  readonly categories: readonly number[];
}

/** What a device has to do for the detectors of some rows. */
export interface NoveltyWork {
  readonly passes: readonly DevicePass[];
  /** In the order in which `addLevels` reads them. */
  readonly reads: readonly (readonly [GPUBuffer, Bytes])[];
  /** Into how many slices the normal rows are cut. */
  readonly slices: number;
}

/** Slices of normal rows, of which each row is given the nearest. */
const MAX_SLICES = 32;
const MIN_SLICE_ROWS = 16;

/** Uploads the encoded rows. Values: Float32Array, row-major. */
export function noveltyWork(
  turn: DeviceTurn,
  novelty: DeviceNovelty,
  values: Float32Array,
  rows: number,
): NoveltyWork {
  const { forest, normals, layers, vectors } = novelty.packed;
  const passes: DevicePass[] = [];
  const reads: [GPUBuffer, Bytes][] = [];
  const points = turn.upload('points', encode(turn, novelty, values, rows));
  if (forest !== undefined) {
    const results = turn.output('depths', rows * 8);
    passes.push(treesPass(turn, forest, { values: points, columns: vectors * 4, rows, results }));
    reads.push([results, rows * 8]);
  }
  let slices = 0;
  if (normals !== undefined) {
    const count = normals.length / (vectors * 4);
    slices = Math.max(1, Math.min(MAX_SLICES, Math.floor(count / MIN_SLICE_ROWS), Math.ceil(BUSY / rows)));
    const results = turn.output('distances', rows * slices * 4);
    passes.push({
      shader: NEAREST_SHADER,
      shape: [rows, vectors, count, slices],
      buffers: [points, turn.table(normals), results],
      x: workgroups(rows),
      y: slices,
    });
    reads.push([results, rows * slices * 4]);
  }
  if (layers !== undefined) {
    let input = points;
    layers.forEach(({ inputs, outputs, weights }, l) => {
      const result = turn.between(`layer ${l}`, rows * outputs * 16);
      passes.push({
        shader: LAYER_SHADER,
        shape: [rows, inputs, outputs, l + 1 < layers.length ? 1 : 0],
        buffers: [input, turn.table(weights), result],
        x: workgroups(rows * outputs),
      });
      input = result;
    });
    const results = turn.output('errors', rows * 4);
    const buffers = [points, input, results];
    passes.push({ shader: ERROR_SHADER, shape: [rows, vectors], buffers, x: workgroups(rows) });
    reads.push([results, rows * 4]);
  }
  return { passes, reads, slices };
}

/**
 * Adds the weighted levels, from what the device measured: as `NoveltyDetectors.addLevels`. `at`: where in the bytes that begins.
 * Margins: Float64Array, one a row.
 */
export function addLevels(
  { parts, packed: novelty }: DeviceNovelty,
  bytes: ArrayBuffer,
  { slices, at }: { readonly slices: number; readonly at: Bytes },
  margins: Float64Array,
): void {
  const { tails, weights, cap } = parts;
  const rows = margins.length;
  let from = at;
  const depths = novelty.forest && new Uint32Array(bytes, from, rows * 2);
  if (depths !== undefined) from += align(rows * 8);
  const distances = novelty.normals && new Float32Array(bytes, from, rows * slices);
  if (distances !== undefined) from += align(rows * slices * 4);
  const errors = novelty.layers && new Float32Array(bytes, from, rows);
  for (let r = 0; r < rows; r++) {
    let level = 0;
    if (distances !== undefined) {
      let nearest = Number.POSITIVE_INFINITY;
      for (let s = r * slices; s < (r + 1) * slices; s++) nearest = Math.min(nearest, distances[s] as number);
      level += weights.distance * tailLevel(tails.distance, Math.sqrt(nearest), cap);
    } else if (weights.distance > 0) {
      level += weights.distance * tailLevel(tails.distance, Number.POSITIVE_INFINITY, cap);
    }
    if (depths !== undefined) {
      const depth = fromFixed(
        depths[2 * r] as number,
        depths[2 * r + 1] as number,
        (novelty.forest as PackedTrees).unit,
      );
      level += weights.isolation * tailLevel(tails.isolation, depth, cap);
    }
    if (errors !== undefined) {
      level += weights.reconstruction * tailLevel(tails.reconstruction, Math.sqrt(errors[r] as number), cap);
    }
    margins[r] = (margins[r] as number) + level;
  }
}

/** Encoded here, so that the points are the CPU's to the bit. */
function encode(turn: DeviceTurn, novelty: DeviceNovelty, values: Float32Array, rows: number): Float32Array {
  const { parts, packed, categories } = novelty;
  const { width, vectors } = packed;
  const stride = vectors * 4;
  const points = turn.staging(rows * stride);
  encodePoints(parts.encoding, categories, values, 0, rows, points);
  // Spread out in place, from the last row on: a row never overtakes one that is still to be moved.
  if (stride !== width) {
    for (let r = rows - 1; r >= 0; r--) {
      points.copyWithin(r * stride, r * width, (r + 1) * width);
      points.fill(0, r * stride + width, (r + 1) * stride);
    }
  }
  return points;
}
