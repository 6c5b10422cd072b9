import { FIXED_POINT } from './objective.ts';

// One float64 holds a row's gradient, hessian and count side by side, so that a histogram needs one addition a
// row and column: g * 2^33 + h * 2^13 + 1. With levels up to 127 and at most PACKED_ROWS rows in a sum, each field
// stays inside its place and the whole below 2^53, where float64 adds whole numbers exactly.
const GRADIENT_UNIT = 2 ** 33;
const HESSIAN_UNIT = 2 ** 13;
/** Rows that may be added up before a packed sum must be taken apart. */
export const PACKED_ROWS = 4096;

/** Fixed scales of a training run: what one level of gradient and of hessian is worth. */
export interface QuantizationScales {
  readonly gradient: number;
  readonly hessian: number;
}

/** A gradient lies in [-w, w], a hessian in [0, w / 4]; fixed, so that no pass over the rows is needed. */
export function quantizationScales(levels: number, maxWeight: number): QuantizationScales {
  return { gradient: maxWeight / levels, hessian: maxWeight / 4 / levels };
}

/** 32 bits from three numbers (finalizer of MurmurHash3): the same for a row whichever worker holds it. */
export function counterHash(seed: number, round: number, row: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(round + 1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) + Math.imul(row + 1, 0x27d4eb2f);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Rounds each row's fixed-point gradient and hessian to whole levels, up or down by a counter-based draw so that the
 * mean is kept (Shi et al., 2022), and packs them with a count of one. Out: Float64Array, one a row.
 */
export function packGradients(
  gradients: Int32Array,
  hessians: Int32Array,
  scales: QuantizationScales,
  draw: { readonly seed: number; readonly round: number },
  out: Float64Array,
): void {
  const perGradient = 1 / (scales.gradient * FIXED_POINT);
  const perHessian = 1 / (scales.hessian * FIXED_POINT);
  for (let i = 0; i < out.length; i++) {
    const bits = counterHash(draw.seed, draw.round, i);
    const g = Math.floor((gradients[i] as number) * perGradient + (bits & 0xffff) / 65536);
    const h = Math.floor((hessians[i] as number) * perHessian + (bits >>> 16) / 65536);
    out[i] = g * GRADIENT_UNIT + h * HESSIAN_UNIT + 1;
  }
}

/** Takes a packed sum apart and adds it to entry `at` of a histogram (gradient, hessian, count). */
export function addPacked(sum: number, histogram: Int32Array, at: number): void {
  const g = Math.floor(sum / GRADIENT_UNIT);
  const rest = sum - g * GRADIENT_UNIT;
  const h = Math.floor(rest / HESSIAN_UNIT);
  histogram[at] = (histogram[at] as number) + g;
  histogram[at + 1] = (histogram[at + 1] as number) + h;
  histogram[at + 2] = (histogram[at + 2] as number) + (rest - h * HESSIAN_UNIT);
}
