import { instantiateKernel, type KernelMemory, loadKernel, newKernelMemory } from '../../base/index.ts';
import { writeLoss } from '../distributed/answer.ts';
import { FIXED_POINT } from '../objective.ts';
import { LOSS_NUMBERS } from './network-gradients.ts';

/** Functions of the kernel `dense` that train. */
interface DenseKernel {
  readonly multiply: (...addresses: number[]) => void;
  readonly rectify: (at: number, count: number) => void;
  readonly shut: (at: number, output: number, count: number) => void;
  readonly gradients: (...addresses: number[]) => void;
}

/** Addresses of one layer in the kernel's memory, in bytes; widths are filled up to multiples of 8 floats. */
interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly n: number;
  readonly m: number;
  /** outputs x inputs, and inputs x outputs. */
  readonly rows: number;
  readonly columns: number;
  readonly biases: number;
  readonly answer: number;
  readonly delta: number;
  readonly sums: number;
  readonly biasSums: number;
}

/** Bytes below it are the kernel's. */
const FIRST_BYTE = 1024;
const PAGE = 65_536;
/** Mean squared difference of one row that a loss counts at most. */
const MAX_LOSS = 1024;

/**
 * Gradient sums of an autoencoder over some rows, in whole numbers: the same whatever parts the rows are summed in. Of
 * half the squared error of each row, not divided by anything. Rectified layers, nothing behind the last, as
 * `forwardNetwork`, but in float32 steps. The plain form stands in test/twins/plain-dense.ts. Not for concurrent use.
 */
export class NetworkKernel {
  readonly #kernel: DenseKernel;
  readonly #memory: KernelMemory;
  readonly #layers: readonly Layer[];
  readonly #input: number;
  readonly #zeros: number;
  readonly #floats: Float32Array;
  readonly #whole: Int32Array;

  /** `widths`: from input to output; `batch`: rows of one call at most, 511 at most. */
  constructor(widths: readonly number[], batch: number) {
    let at = FIRST_BYTE;
    const take = (floats: number): number => {
      const start = at;
      at += floats * 4;
      return start;
    };
    const rows = Math.ceil(batch / 4) * 4;
    this.#input = take(rows * padded(widths[0] as number));
    this.#zeros = take(padded(Math.max(...widths)));
    this.#layers = widths.slice(1).map((outputs, l) => {
      const inputs = widths[l] as number;
      const [n, m] = [padded(inputs), padded(outputs)];
      return {
        ...{ inputs, outputs, n, m, rows: take(m * n), columns: take(n * m), biases: take(m) },
        ...{ answer: take(rows * m), delta: take(rows * m), sums: take(m * n), biasSums: take(m) },
      };
    });
    this.#memory = newKernelMemory({ initialPages: Math.ceil(at / PAGE), maximumPages: PAGE });
    this.#kernel = instantiateKernel<DenseKernel & Record<string, unknown>>(
      loadKernel('dense'),
      this.#memory,
    );
    this.#floats = new Float32Array(this.#memory.buffer);
    this.#whole = new Int32Array(this.#memory.buffer);
  }

  /** Sets weights and biases, layer by layer as `packNetwork` has them. */
  load(parameters: Float32Array): void {
    const floats = this.#floats;
    let at = 0;
    for (const { inputs, outputs, n, m, rows, columns, biases } of this.#layers) {
      for (let o = 0; o < outputs; o++) {
        for (let i = 0; i < inputs; i++) {
          const weight = parameters[at++] as number;
          floats[rows / 4 + o * n + i] = weight;
          floats[columns / 4 + i * m + o] = weight;
        }
      }
      for (let o = 0; o < outputs; o++) floats[biases / 4 + o] = parameters[at++] as number;
    }
  }

  /** Sets row `r` of a batch to the point at `at` in `points`. */
  setRow(r: number, points: Float32Array, at: number): void {
    const { inputs, n } = this.#layers[0] as Layer;
    const to = this.#input / 4 + r * n;
    for (let i = 0; i < inputs; i++) this.#floats[to + i] = points[at + i] as number;
  }

  /** Adds the sums over the first `rows` rows to `sums`, int32 as `gradientLength` lays them out. Hot. */
  addSums(rows: number, sums: Int32Array): void {
    const loss = this.#forward(rows);
    this.#backward(rows);
    let at = 0;
    for (const { inputs, outputs, n, sums: from, biasSums } of this.#layers) {
      for (let o = 0; o < outputs; o++) {
        const row = from / 4 + o * n;
        for (let i = 0; i < inputs; i++, at++)
          sums[at] = (sums[at] as number) + (this.#whole[row + i] as number);
      }
      for (let o = 0; o < outputs; o++, at++) {
        sums[at] = (sums[at] as number) + (this.#whole[biasSums / 4 + o] as number);
      }
    }
    const own = new Int32Array(LOSS_NUMBERS);
    writeLoss({ rows, sum: loss }, own);
    for (let i = 0; i < LOSS_NUMBERS; i++) sums[at + i] = (sums[at + i] as number) + (own[i] as number);
  }

  /** Answers of all layers, and what the last one is off by; gives the loss in whole numbers. */
  #forward(rows: number): number {
    const four = Math.ceil(rows / 4) * 4;
    let from = this.#input;
    const last = this.#layers.at(-1) as Layer;
    for (const layer of this.#layers) {
      const { inputs, n, m, columns, biases, answer } = layer;
      this.#kernel.multiply(from, n * 4, inputs, columns, biases, answer, four, m);
      if (layer !== last) this.#kernel.rectify(answer, four * m);
      from = answer;
    }
    const { outputs, m, answer, delta } = last;
    const floats = this.#floats;
    let loss = 0;
    for (let r = 0; r < rows; r++) {
      const [x, y, d] = [this.#input / 4 + r * m, answer / 4 + r * m, delta / 4 + r * m];
      let squares = 0;
      for (let o = 0; o < outputs; o++) {
        const off = Math.fround((floats[y + o] as number) - (floats[x + o] as number));
        floats[d + o] = off;
        squares += off * off;
      }
      const mean = squares / outputs;
      loss += Math.round((mean < MAX_LOSS ? mean : MAX_LOSS) * FIXED_POINT);
    }
    return loss;
  }

  #backward(rows: number): void {
    const four = Math.ceil(rows / 4) * 4;
    for (let l = this.#layers.length - 1; l >= 0; l--) {
      const { outputs, n, m, rows: weights, delta, sums, biasSums } = this.#layers[l] as Layer;
      const before = this.#layers[l - 1];
      const x = before?.answer ?? this.#input;
      this.#kernel.gradients(delta, m, x, n, rows, sums, biasSums);
      if (before === undefined) return;
      this.#kernel.multiply(delta, m * 4, outputs, weights, this.#zeros, before.delta, four, n);
      this.#kernel.shut(before.delta, before.answer, four * n);
    }
  }
}

function padded(width: number): number {
  return Math.ceil(width / 8) * 8;
}
