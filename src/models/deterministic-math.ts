// The upper part of ln 2 has 21 trailing zero bits, so that k * LN2_HIGH is exact (Cody and Waite).
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;

// A power of two is built by its bits: exact, whatever the machine.
const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);

/** 2^k for a whole k in [-1022, 1023]. */
function powerOfTwo(k: number): number {
  words[0] = 0;
  words[1] = (k + 1023) << 20;
  return float[0] as number;
}

/**
 * e^x from additions, multiplications and one division only, so that every machine gives the same bits
 * (`Math.exp` may differ by engine). x = k ln 2 + r with |r| <= ln 2 / 2, then a Taylor polynomial of degree 13
 * in r. Relative error below 3e-16. Saturates at 0 and Infinity beyond +-708.
 */
export function deterministicExp(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  if (x > 708) return Number.POSITIVE_INFINITY;
  if (x < -708) return 0;
  const k = Math.floor(x * Math.LOG2E + 0.5);
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  let p = 1 / 6227020800;
  p = p * r + 1 / 479001600;
  p = p * r + 1 / 39916800;
  p = p * r + 1 / 3628800;
  p = p * r + 1 / 362880;
  p = p * r + 1 / 40320;
  p = p * r + 1 / 5040;
  p = p * r + 1 / 720;
  p = p * r + 1 / 120;
  p = p * r + 1 / 24;
  p = p * r + 1 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  return p * powerOfTwo(k);
}

/**
 * Natural logarithm with the same guarantee: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then the series of
 * 2 atanh((m-1)/(m+1)) to the 21st power. Subnormal and non-positive numbers give -Infinity or NaN as `Math.log` does
 * for 0 and below.
 */
export function deterministicLog(x: number): number {
  if (Number.isNaN(x) || x < 0) return Number.NaN;
  if (x < 2.2250738585072014e-308) return Number.NEGATIVE_INFINITY;
  if (x === Number.POSITIVE_INFINITY) return x;
  float[0] = x;
  const high = words[1] as number;
  let e = (high >>> 20) - 1023;
  words[1] = (high & 0xfffff) | (1023 << 20);
  let m = float[0] as number;
  if (m >= Math.SQRT2) {
    m /= 2;
    e += 1;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let p = 1 / 21;
  for (let n = 19; n >= 1; n -= 2) p = p * z + 1 / n;
  return e * LN2_HIGH + (e * LN2_LOW + 2 * s * p);
}

/** 1 / (1 + e^-x), in a form that does not overflow. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + deterministicExp(-x));
  const e = deterministicExp(x);
  return e / (1 + e);
}
