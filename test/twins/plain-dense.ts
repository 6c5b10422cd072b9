/** Strands that the kernel sums in. */
const STRANDS = 16;

/**
 * The plain form of `nearest` in kernels/dense.ts: squared distance and number of the first nearest row, summed in the
 * kernel's strands and order, each step rounded to float32.
 */
export function nearestOf(points: Float32Array, width: number, query: Float32Array) {
  let best = { distance: Number.POSITIVE_INFINITY, row: -1 };
  for (let row = 0; row < points.length / width; row++) {
    const strands = new Float32Array(STRANDS);
    for (let d = 0; d < width; d++) {
      const difference = Math.fround((query[d] as number) - (points[row * width + d] as number));
      const square = Math.fround(difference * difference);
      strands[d % STRANDS] = (strands[d % STRANDS] as number) + square;
    }
    const lane = (l: number): number => {
      const at = (s: number): number => strands[s * 4 + l] as number;
      return Math.fround(Math.fround(at(0) + at(1)) + Math.fround(at(2) + at(3)));
    };
    const distance = Math.fround(Math.fround(lane(0) + lane(1)) + Math.fround(lane(2) + lane(3)));
    if (distance < best.distance) best = { distance, row };
  }
  return best;
}

/** Layers as `DenseNetwork` has them. */
type Layers = readonly {
  readonly inputs: number;
  readonly outputs: number;
  readonly weights: Float32Array;
  readonly biases: Float32Array;
}[];

const { fround } = Math;

/**
 * The plain form of a network's gradient sums (kernels/dense.ts: `multiply`, `rectify`, `gradients`, `shut`): forward and
 * backward for each row by itself, each step rounded to float32; what a row says of a parameter in whole steps of 2^-16,
 * within +-64. Weights and biases layer by layer.
 */
export function gradientSums(network: Layers, points: Float32Array, rows: number): Int32Array {
  const width = network[0]?.inputs ?? 0;
  const sums = new Int32Array(network.reduce((n, { inputs, outputs }) => n + (inputs + 1) * outputs, 0));
  for (let r = 0; r < rows; r++) {
    const answers = [points.subarray(r * width, (r + 1) * width)];
    network.forEach(({ inputs, outputs, weights, biases }, l) => {
      const x = answers[l] as Float32Array;
      answers.push(
        Float32Array.from({ length: outputs }, (_, o) => {
          let sum = biases[o] as number;
          for (let i = 0; i < inputs; i++) {
            sum = fround(sum + fround((weights[o * inputs + i] as number) * (x[i] as number)));
          }
          return l + 1 < network.length && sum < 0 ? 0 : sum;
        }),
      );
    });
    let delta = (answers.at(-1) as Float32Array).map((y, i) => y - (points[r * width + i] as number));
    let end = sums.length;
    for (let l = network.length - 1; l >= 0; l--) {
      const { inputs, outputs, weights } = network[l] as Layers[number];
      const x = answers[l] as Float32Array;
      const start = end - (inputs + 1) * outputs;
      delta.forEach((d, o) => {
        for (let i = 0; i < inputs; i++) sums[start + o * inputs + i]! += stepsOf(d * (x[i] as number));
        sums[start + outputs * inputs + o]! += stepsOf(d);
      });
      end = start;
      const here = delta;
      delta = Float32Array.from({ length: inputs }, (_, i) => {
        if (!((x[i] as number) > 0)) return 0;
        return here.reduce((sum, d, o) => fround(sum + fround(d * (weights[o * inputs + i] as number))), 0);
      });
    }
  }
  return sums;
}

/** Whole steps of 2^-16, ties to even. */
function stepsOf(value: number): number {
  const v = Math.max(-64, Math.min(64, fround(value)));
  return (fround(192 + v) - 192) * 65_536;
}
