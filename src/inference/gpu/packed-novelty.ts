import { type DenseNetwork, encodedWidth, type NoveltyParts } from '../../models/index.ts';
import { type PackedTrees, packTrees } from './packed-trees.ts';
import { NORMALS_AT_ONCE } from './shaders.ts';

/** A layer as `LAYER_SHADER` reads it: sizes in vectors of four, biases, then four vectors a pair of output and input. */
export interface PackedLayer {
  readonly inputs: number;
  readonly outputs: number;
  readonly weights: Float32Array<ArrayBuffer>;
}

/** Detectors of novelty for a device; what counts nothing is absent. */
export interface PackedNovelty {
  /** Numbers of an encoded row, and the same in vectors of four, filled up with zeros. */
  readonly width: number;
  readonly vectors: number;
  readonly forest?: PackedTrees;
  /** Float32Array, rows filled up with zeros; the last row repeated so that their number fits. */
  readonly normals?: Float32Array<ArrayBuffer>;
  readonly layers?: readonly PackedLayer[];
}

export function packNovelty(parts: NoveltyParts, categories: readonly number[]): PackedNovelty {
  const { weights, forest, normals, autoencoder, encoding } = parts;
  const width = encodedWidth(encoding, categories);
  const trees = { firstTree: 0, endTree: forest.roots.length };
  return {
    width,
    vectors: Math.ceil(width / 4),
    ...(weights.isolation > 0 && { forest: packTrees(forest, [trees], 0) }),
    ...(weights.distance > 0 && normals.length > 0 && { normals: packRows(normals, width) }),
    ...(weights.reconstruction > 0 && { layers: packNetwork(autoencoder) }),
  };
}

function packRows(rows: Float32Array, width: number): Float32Array<ArrayBuffer> {
  const count = rows.length / width;
  const padded = Math.ceil(count / NORMALS_AT_ONCE) * NORMALS_AT_ONCE;
  const stride = Math.ceil(width / 4) * 4;
  const packed = new Float32Array(padded * stride);
  for (let r = 0; r < padded; r++) {
    const from = Math.min(r, count - 1) * width;
    packed.set(rows.subarray(from, from + width), r * stride);
  }
  return packed;
}

function packNetwork(network: DenseNetwork): PackedLayer[] {
  return network.map(({ inputs, outputs, weights, biases }) => {
    const [i4, o4] = [Math.ceil(inputs / 4), Math.ceil(outputs / 4)];
    const packed = new Float32Array((o4 + o4 * i4 * 4) * 4);
    packed.set(biases);
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        const vector = o4 + ((o >> 2) * i4 + (i >> 2)) * 4 + (i & 3);
        packed[vector * 4 + (o & 3)] = weights[o * inputs + i] as number;
      }
    }
    return { inputs: i4, outputs: o4, weights: packed };
  });
}
