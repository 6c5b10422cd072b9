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
