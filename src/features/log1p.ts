/** log1p of small whole numbers, which counts and lengths mostly are. */
export const SMALL_LOGS = Float32Array.from({ length: 2048 }, (_, x) => Math.log1p(x));

const WORD = new Float64Array(1);
const BITS = new Uint32Array(WORD.buffer);
/** 2^-e and e ln 2 by the biased exponent of a double. */
const SCALE = new Float64Array(2048);
const LOG_SCALE = new Float64Array(2048);
/** 1/c and ln c side by side, for c in the middle of each of 128 parts of [1, 2); the first is 1, so that nothing cancels there. */
const PARTS = new Float64Array(256);
for (let e = 1; e < 2046; e++) {
  SCALE[e] = 2 ** (1023 - e);
  LOG_SCALE[e] = (e - 1023) * Math.LN2;
}
for (let i = 0; i < 128; i++) {
  const inverse = i === 0 ? 1 : 1 / (1 + (i + 0.5) / 128);
  PARTS[2 * i] = inverse;
  PARTS[2 * i + 1] = -Math.log(inverse);
}
/** Bound of the relative error of the series below, with room. */
const ERROR = 4e-13;

/**
 * `Math.fround(Math.log1p(x))`, to the bit. ln(2^e c (1 + r)) by tables for e and c and six terms
 * for r; where its error could change the rounding to float32, `Math.log1p` decides (Ziv, "Fast evaluation of
 * elementary mathematical functions with correctly rounded last bit", 1991).
 */
export function log1pFloat32(x: number): number {
  const whole = x | 0;
  if (whole === x && whole >>> 0 < SMALL_LOGS.length) return SMALL_LOGS[whole] as number;
  if (!(x >= 0 && x < 1e300)) return Math.fround(Math.log1p(x));
  const y = 1 + x;
  WORD[0] = y;
  const high = BITS[1] as number;
  const e = high >>> 20;
  const i = (high >>> 12) & 254;
  const inverse = (SCALE[e] as number) * (PARTS[i] as number);
  const r = y * inverse - 1;
  const r2 = r * r;
  const series = r - r2 * (1 / 2 - r * (1 / 3) + r2 * (1 / 4 - r * (1 / 5) + r2 * (1 / 6)));
  // What rounding took from y, to first order.
  const log = (LOG_SCALE[e] as number) + (PARTS[i + 1] as number) + series + (x - (y - 1)) * inverse;
  const low = Math.fround(log - log * ERROR);
  return low === Math.fround(log + log * ERROR) ? low : Math.fround(Math.log1p(x));
}
