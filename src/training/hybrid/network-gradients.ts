import type { SeededRandom } from '../../base/index.ts';
import type { DenseLayer, DenseNetwork } from '../../models/index.ts';

/** Of one layer; the shapes are the layer's. */
export interface LayerGradients {
  readonly weights: Float32Array;
  readonly biases: Float32Array;
}

/** Steps of a gradient sum in 1: what a row says of a weight is rounded to them, and kept within +-64. */
export const GRADIENT_STEPS = 65_536;
/** Rows of a batch at most: each adds 2^22 steps at most, and the sum is an int32. */
export const MAX_BATCH = 511;
/** Numbers that stand behind the gradients: rows, and their loss in two parts. */
export const LOSS_NUMBERS = 3;

/** Layers of these widths; weights uniform in +-sqrt(6 / inputs) (He et al., 2015), biases 0. */
export function newNetwork(widths: readonly number[], random: SeededRandom): DenseNetwork {
  return widths.slice(1).map((outputs, l): DenseLayer => {
    const inputs = widths[l] as number;
    const limit = Math.sqrt(6 / inputs);
    const weights = new Float32Array(inputs * outputs).map(() => random.uniform(-limit, limit));
    return { inputs, outputs, weights, biases: new Float32Array(outputs) };
  });
}

export function layerGradients(network: DenseNetwork): LayerGradients[] {
  return network.map(({ weights, biases }) => ({
    weights: new Float32Array(weights.length),
    biases: new Float32Array(biases.length),
  }));
}

/** Weights and biases of a network of these widths. */
export function parameterCount(widths: readonly number[]): number {
  return widths.slice(1).reduce((sum, outputs, l) => sum + ((widths[l] as number) + 1) * outputs, 0);
}

/** Length of a vector of sums: weights and biases layer by layer, in steps, then rows and loss. */
export function gradientLength(widths: readonly number[]): number {
  return parameterCount(widths) + LOSS_NUMBERS;
}

/** Reads a vector of sums as gradients, each step worth `step`. */
export function readGradients(sums: Int32Array, step: number, gradients: readonly LayerGradients[]): void {
  let at = 0;
  for (const { weights, biases } of gradients) {
    for (const part of [weights, biases]) {
      for (let i = 0; i < part.length; i++) part[i] = (sums[at++] as number) * step;
    }
  }
}

/** All parameters in the order of the sums; a copy. */
export function packNetwork(network: DenseNetwork): Float32Array<ArrayBuffer> {
  const packed = new Float32Array(
    network.reduce((sum, { weights, biases }) => sum + weights.length + biases.length, 0),
  );
  let at = 0;
  for (const { weights, biases } of network) {
    packed.set(weights, at);
    packed.set(biases, at + weights.length);
    at += weights.length + biases.length;
  }
  return packed;
}
