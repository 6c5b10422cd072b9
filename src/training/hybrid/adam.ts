import type { DenseLayer, DenseNetwork } from '../../models/index.ts';
import { type LayerGradients, layerGradients } from './network-gradients.ts';

const MEAN_DECAY = 0.9;
const SQUARE_DECAY = 0.999;
const EPSILON = 1e-8;

/** Adam (Kingma and Ba, 2015): changes a network's weights in place. Square roots are exact by IEEE 754, so deterministic. */
export class Adam {
  readonly #network: DenseNetwork;
  readonly #rate: number;
  readonly #means: readonly LayerGradients[];
  readonly #squares: readonly LayerGradients[];
  #meanPower = 1;
  #squarePower = 1;

  constructor(network: DenseNetwork, learningRate: number) {
    this.#network = network;
    this.#rate = learningRate;
    this.#means = layerGradients(network);
    this.#squares = layerGradients(network);
  }

  step(gradients: readonly LayerGradients[]): void {
    this.#meanPower *= MEAN_DECAY;
    this.#squarePower *= SQUARE_DECAY;
    for (let l = 0; l < this.#network.length; l++) {
      for (const name of ['weights', 'biases'] as const) {
        this.#move(
          (this.#network[l] as DenseLayer)[name],
          (gradients[l] as LayerGradients)[name],
          (this.#means[l] as LayerGradients)[name],
          (this.#squares[l] as LayerGradients)[name],
        );
      }
    }
  }

  #move(values: Float32Array, gradient: Float32Array, mean: Float32Array, square: Float32Array): void {
    const rate = this.#rate / (1 - this.#meanPower);
    const correction = 1 / (1 - this.#squarePower);
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i] as number;
      const m = MEAN_DECAY * (mean[i] as number) + (1 - MEAN_DECAY) * g;
      const s = SQUARE_DECAY * (square[i] as number) + (1 - SQUARE_DECAY) * g * g;
      mean[i] = m;
      square[i] = s;
      values[i] = (values[i] as number) - (rate * m) / (Math.sqrt(s * correction) + EPSILON);
    }
  }
}
