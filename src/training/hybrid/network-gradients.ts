import type { SeededRandom } from '../../base/index.ts';
import type { DenseLayer, DenseNetwork } from '../../models/index.ts';

/** Of one layer; the shapes are the layer's. */
export interface LayerGradients {
  readonly weights: Float32Array;
  readonly biases: Float32Array;
}

export interface BackwardBuffers {
  /** What the forward pass left, Float32Array, batch x outputs of each layer. */
  readonly outputs: readonly Float32Array[];
  /** Derivative of the loss by each layer's output; the caller fills the last. */
  readonly deltas: readonly Float32Array[];
  /** Written. */
  readonly gradients: readonly LayerGradients[];
}

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

/**
 * Backpropagation through the layers: dW = delta^T x, db = sum of delta, delta of the layer before = delta W where its
 * output is above 0. Sums run over rows (and outputs) in order, each sum in float32 steps. Hot.
 */
export function backwardNetwork(
  network: DenseNetwork,
  input: Float32Array,
  rows: number,
  { outputs, deltas, gradients }: BackwardBuffers,
): void {
  for (let l = network.length - 1; l >= 0; l--) {
    const layer = network[l] as DenseLayer;
    const x = l === 0 ? input : (outputs[l - 1] as Float32Array);
    const delta = deltas[l] as Float32Array;
    addWeightGradients(layer, x, delta, rows, gradients[l] as LayerGradients);
    if (l > 0) passBack(layer, x, delta, rows, deltas[l - 1] as Float32Array);
  }
}

function addWeightGradients(
  { inputs, outputs }: DenseLayer,
  x: Float32Array,
  delta: Float32Array,
  rows: number,
  { weights, biases }: LayerGradients,
): void {
  weights.fill(0);
  biases.fill(0);
  for (let r = 0; r < rows; r++) {
    const from = r * inputs;
    for (let o = 0; o < outputs; o++) {
      const d = delta[r * outputs + o] as number;
      if (d === 0) continue;
      biases[o] = (biases[o] as number) + d;
      const w = o * inputs;
      for (let i = 0; i < inputs; i++) {
        weights[w + i] = (weights[w + i] as number) + d * (x[from + i] as number);
      }
    }
  }
}

function passBack(
  { inputs, outputs, weights }: DenseLayer,
  x: Float32Array,
  delta: Float32Array,
  rows: number,
  before: Float32Array,
): void {
  for (let r = 0; r < rows; r++) {
    const from = r * inputs;
    before.fill(0, from, from + inputs);
    for (let o = 0; o < outputs; o++) {
      const d = delta[r * outputs + o] as number;
      if (d === 0) continue;
      const w = o * inputs;
      for (let i = 0; i < inputs; i++) {
        before[from + i] = (before[from + i] as number) + d * (weights[w + i] as number);
      }
    }
    // x is the rectified output of the layer before: 0 where the rectifier was shut.
    for (let i = from; i < from + inputs; i++) if (x[i] === 0) before[i] = 0;
  }
}
