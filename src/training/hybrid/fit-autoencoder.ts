import { setImmediate } from 'node:timers/promises';
import type { SeededRandom } from '../../base/index.ts';
import type { DenseNetwork } from '../../models/index.ts';
import { readLoss } from '../distributed/answer.ts';
import { FIXED_POINT } from '../objective.ts';
import { Adam } from './adam.ts';
import { type OpenGradients, openLocalGradients } from './gradient-source.ts';
import {
  GRADIENT_STEPS,
  layerGradients,
  newNetwork,
  packNetwork,
  parameterCount,
  readGradients,
} from './network-gradients.ts';

export interface AutoencoderOptions {
  /** Hidden widths from one end to the other. */
  readonly hidden: readonly number[];
  readonly epochs: number;
  /** Rows of a step, 511 at most. */
  readonly batch: number;
  readonly learningRate: number;
  /** Where gradients are summed; on points of this process where absent. The network does not depend on it. */
  readonly open?: OpenGradients | undefined;
  /** Called between batches: who slows training down, or breaks it off, does it here. */
  readonly turn?: (() => Promise<void>) | undefined;
  /** Told of each epoch, with the mean squared difference of its rows as they came. */
  readonly onEpoch?: ((epoch: EpochProgress) => void | Promise<void>) | undefined;
}

export interface EpochProgress {
  readonly epoch: number;
  readonly epochs: number;
  /** Points that each epoch goes over. */
  readonly rows: number;
  readonly loss: number;
}

/** Batches between two turns. */
const BATCHES_A_TURN = 16;

/**
 * An autoencoder of normal traffic: dense layers with ReLU, squared error, Adam, batches in a drawn order. What it
 * cannot reproduce it has not seen. Points: Float32Array, row-major rows x width. Deterministic: gradients are summed in
 * whole numbers, so that neither the place nor the order of the sums changes a bit.
 */
export async function fitAutoencoder(
  points: Float32Array,
  width: number,
  options: AutoencoderOptions,
  random: SeededRandom,
): Promise<DenseNetwork> {
  const { hidden, epochs, batch: size, learningRate, turn, onEpoch } = options;
  const rows = points.length / width;
  const widths = [width, ...hidden, width];
  const network = newNetwork(widths, random);
  const gradients = layerGradients(network);
  const adam = new Adam(network, learningRate);
  const plan = { widths, rows, batch: size, seed: random.uint32() };
  const source = await (options.open ?? openLocalGradients)(points, plan);
  const batches = Math.ceil(rows / size);
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      let loss = 0;
      for (let batch = 0; batch < batches; batch++) {
        const sums = await source.sum(packNetwork(network), { epoch, batch });
        const told = readLoss(sums.subarray(parameterCount(widths)));
        loss += told.sum;
        // Of the mean over rows of the mean squared difference.
        readGradients(sums, 2 / (GRADIENT_STEPS * told.rows * width), gradients);
        adam.step(gradients);
        if ((epoch * batches + batch) % BATCHES_A_TURN === BATCHES_A_TURN - 1) {
          await turn?.();
          await setImmediate();
        }
      }
      await onEpoch?.({ epoch: epoch + 1, epochs, rows, loss: loss / FIXED_POINT / Math.max(1, rows) });
    }
  } finally {
    await source.close();
  }
  return network;
}
