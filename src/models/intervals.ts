import { ModelError } from './errors.ts';
import { inverseIncompleteBeta } from './special-functions.ts';

/** A measured value with its 95 % interval, all in [0, 1]. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** The normal deviate of a two-sided 95 % interval. */
export const Z_95 = 1.959963984540054;

/** Wilson's interval (1927) for `hits` of `n`; of nothing it is 0, from 0 to 1. */
export function wilson(hits: number, n: number): Interval {
  checkCounts(hits, n);
  if (n === 0) return { value: 0, low: 0, high: 1 };
  const p = hits / n;
  const z2 = Z_95 * Z_95;
  const centre = p + z2 / (2 * n);
  const half = Z_95 * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  const scale = 1 + z2 / n;
  return {
    value: p,
    low: hits === 0 ? 0 : Math.max(0, (centre - half) / scale),
    high: hits === n ? 1 : Math.min(1, (centre + half) / scale),
  };
}

/**
 * Upper bound of an error rate after `errors` in `n`, exact and one-sided (Clopper and Pearson, 1934): the rate at which
 * so few errors would still be seen with probability 1 - confidence. 1 where all, or none of none, went wrong.
 */
export function clopperPearsonUpper(errors: number, n: number, confidence = 0.95): number {
  checkCounts(errors, n);
  if (!(confidence > 0 && confidence < 1)) {
    throw new ModelError('models.argument-invalid', `expected a confidence in (0, 1), got ${confidence}`);
  }
  return errors === n ? 1 : inverseIncompleteBeta(confidence, errors + 1, n - errors);
}

/** The fewest decisions that, with so many errors among them, put the upper bound at or below `target`. */
export function decisionsNeeded(errors: number, target: number, confidence = 0.95): number {
  if (!(target > 0 && target <= 1)) {
    throw new ModelError('models.argument-invalid', `expected a target in (0, 1], got ${target}`);
  }
  let low = errors;
  let high = Math.max(1, 2 * errors);
  while (clopperPearsonUpper(errors, high, confidence) > target) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (clopperPearsonUpper(errors, middle, confidence) <= target) high = middle;
    else low = middle;
  }
  return high;
}

function checkCounts(hits: number, n: number): void {
  if (!Number.isInteger(hits) || !Number.isInteger(n) || hits < 0 || hits > n) {
    throw new ModelError('models.argument-invalid', `expected whole counts, got ${hits} of ${n}`);
  }
}
