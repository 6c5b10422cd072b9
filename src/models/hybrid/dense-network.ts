import { ModelError } from '../errors.ts';

/** A layer y = W x + b, rectified except in the last. */
export interface DenseLayer {
  readonly inputs: number;
  readonly outputs: number;
  /** Float32Array, row-major outputs x inputs. */
  readonly weights: Float32Array;
  /** Float32Array, outputs. */
  readonly biases: Float32Array;
}

/** Layers one behind the other: ReLU between them, nothing behind the last. */
export type DenseNetwork = readonly DenseLayer[];

/** A network's scratch: what each layer gives, Float32Array, batch x outputs. */
export function layerOutputs(network: DenseNetwork, batch: number): Float32Array[] {
  return network.map(({ outputs }) => new Float32Array(batch * outputs));
}

/**
 * One layer for `rows` rows: sums run over the inputs in order, in float64, and are rounded to float32 once, so that
 * every machine gives the same bits. Input and out: row-major. Hot.
 */
export function forwardLayer(
  layer: DenseLayer,
  input: Float32Array,
  rows: number,
  isRectified: boolean,
  out: Float32Array,
): void {
  const { inputs, outputs, weights, biases } = layer;
  for (let r = 0; r < rows; r++) {
    const from = r * inputs;
    for (let o = 0; o < outputs; o++) {
      const w = o * inputs;
      let sum = biases[o] as number;
      for (let i = 0; i < inputs; i++) sum += (weights[w + i] as number) * (input[from + i] as number);
      out[r * outputs + o] = isRectified && sum < 0 ? 0 : sum;
    }
  }
}

/** Runs a network over `rows` rows into `outputs`, as from `layerOutputs`; the last of them is the answer. */
export function forwardNetwork(
  network: DenseNetwork,
  input: Float32Array,
  rows: number,
  outputs: readonly Float32Array[],
): void {
  let from = input;
  network.forEach((layer, l) => {
    const to = outputs[l] as Float32Array;
    forwardLayer(layer, from, rows, l + 1 < network.length, to);
    from = to;
  });
}

/** Refuses layers that do not fit each other, this width at both ends, or are not finite. Throws models.malformed. */
export function checkAutoencoder(network: DenseNetwork, width: number): void {
  let size = width;
  for (const { inputs, outputs, weights, biases } of network) {
    if (inputs !== size || weights.length !== inputs * outputs || biases.length !== outputs) {
      throw new ModelError('models.malformed', `a layer of ${inputs} x ${outputs} follows ${size} numbers`);
    }
    if (!weights.every(Number.isFinite) || !biases.every(Number.isFinite)) {
      throw new ModelError('models.malformed', 'a layer holds a number that is not finite');
    }
    size = outputs;
  }
  if (network.length === 0 || size !== width) {
    throw new ModelError('models.malformed', `the network gives ${size} numbers for ${width}`);
  }
}
