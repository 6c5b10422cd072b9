import { FIXED_POINT } from './objective.ts';

/** Fixed scales of a training run: what one level of gradient and of hessian is worth. */
export interface QuantizationScales {
  readonly gradient: number;
  readonly hessian: number;
}

/**
 * A gradient lies in [-w, w], a hessian in [0, w / 4], `factor` times as much for several classes; fixed, so that no pass
 * over the rows is needed. Two levels of gradient go with one of hessian: a confident row then rounds to nothing twice as
 * often, which takes time off a tree and noise off its leaves.
 */
export function quantizationScales(levels: number, maxWeight: number, factor = 1): QuantizationScales {
  const hessianLevels = levels === 2 ? 1 : levels;
  return { gradient: maxWeight / levels, hessian: (maxWeight * factor) / 4 / hessianLevels };
}

/** Levels to one unit of a fixed-point gradient and hessian. */
export function levelsPerUnit(scales: QuantizationScales): {
  readonly gradient: number;
  readonly hessian: number;
} {
  return { gradient: 1 / (scales.gradient * FIXED_POINT), hessian: 1 / (scales.hessian * FIXED_POINT) };
}

/** 32 bits from three numbers (finalizer of MurmurHash3): the same for a row whichever worker holds it. */
export function counterHash(seed: number, round: number, row: number): number {
  let h = hashBase(seed, round) + Math.imul(row + 1, 0x27d4eb2f);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The part of `counterHash` that no row takes part in; int32. */
export function hashBase(seed: number, round: number): number {
  const h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(round + 1, 0xc2b2ae35);
  return Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
}

/** The draws of one round: bases of the hash for rounding, one an output, and for the sample of rows. */
export interface RoundDraws {
  readonly rounding: Int32Array;
  readonly sampling: number;
  /** Rows whose hash lies below it take part; 0: all. */
  readonly sampleLimit: number;
}

export function roundDraws(seed: number, round: number, outputs: number, rowFraction: number): RoundDraws {
  return {
    rounding: Int32Array.from({ length: outputs }, (_, k) => hashBase(seed, round * outputs + k)),
    sampling: hashBase(seed ^ 0x5bd1e995, round),
    sampleLimit: rowFraction === 1 ? 0 : Math.max(1, Math.floor(rowFraction * 2 ** 32)),
  };
}

/** Rows in one block of packed sums g << 16 + h at most, so that neither half overflows. */
export function packedRows(levels: number): number {
  return Math.floor(32_767 / levels);
}
