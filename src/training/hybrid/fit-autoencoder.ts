import type { SeededRandom } from '../../base/index.ts';
import { type DenseNetwork, forwardNetwork, layerOutputs } from '../../models/index.ts';
import { Adam } from './adam.ts';
import { backwardNetwork, type LayerGradients, layerGradients, newNetwork } from './network-gradients.ts';

export interface AutoencoderOptions {
  /** Hidden widths from one end to the other. */
  readonly hidden: readonly number[];
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
}

/**
 * An autoencoder of normal traffic: dense layers with ReLU, squared error, Adam, batches in a drawn order. What it
 * cannot reproduce it has not seen. Points: Float32Array, row-major rows x width. Deterministic.
 */
export function fitAutoencoder(
  points: Float32Array,
  width: number,
  options: AutoencoderOptions,
  random: SeededRandom,
): DenseNetwork {
  const { hidden, epochs, batch, learningRate } = options;
  const rows = points.length / width;
  const network = newNetwork([width, ...hidden, width], random);
  const gradients: readonly LayerGradients[] = layerGradients(network);
  const outputs = layerOutputs(network, batch);
  const deltas = layerOutputs(network, batch);
  const input = new Float32Array(batch * width);
  const adam = new Adam(network, learningRate);
  const order = Array.from({ length: rows }, (_, r) => r);
  for (let epoch = 0; epoch < epochs; epoch++) {
    random.shuffle(order);
    for (let from = 0; from < rows; from += batch) {
      const size = Math.min(batch, rows - from);
      for (let i = 0; i < size; i++) {
        const r = order[from + i] as number;
        input.set(points.subarray(r * width, (r + 1) * width), i * width);
      }
      forwardNetwork(network, input, size, outputs);
      const delta = deltas[network.length - 1] as Float32Array;
      const answer = outputs[network.length - 1] as Float32Array;
      // Of the mean over rows of the mean squared difference.
      const scale = 2 / (size * width);
      for (let i = 0; i < size * width; i++) {
        delta[i] = ((answer[i] as number) - (input[i] as number)) * scale;
      }
      backwardNetwork(network, input, size, { outputs, deltas, gradients });
      adam.step(gradients);
    }
  }
  return network;
}
