/** Growth of a series: least squares over block means, with its 95 % interval. */
export interface Slope {
  /** Per unit of `at`. */
  readonly perUnit: number;
  readonly low: number;
  readonly high: number;
}

export interface Sample {
  readonly at: number;
  readonly value: number;
}

const BLOCKS = 12;
/** Student's t, two-sided 95 %, for BLOCKS - 2 degrees of freedom. */
const T = 2.228;

/**
 * Memory is read every second and one reading is like the one before it: an interval from single readings would be far too
 * narrow. Means of twelve blocks in time are nearly independent. NaN with fewer than twelve samples.
 */
export function slopeOf(samples: readonly Sample[]): Slope {
  if (samples.length < BLOCKS) return { perUnit: Number.NaN, low: Number.NaN, high: Number.NaN };
  const blocks = Array.from({ length: BLOCKS }, (_, b) => {
    const part = samples.slice(
      Math.floor((b * samples.length) / BLOCKS),
      Math.floor(((b + 1) * samples.length) / BLOCKS),
    );
    return { at: mean(part.map(({ at }) => at)), value: mean(part.map(({ value }) => value)) };
  });
  const atMean = mean(blocks.map(({ at }) => at));
  const valueMean = mean(blocks.map(({ value }) => value));
  let spread = 0;
  let together = 0;
  for (const { at, value } of blocks) {
    spread += (at - atMean) ** 2;
    together += (at - atMean) * (value - valueMean);
  }
  const perUnit = together / spread;
  const rest = blocks.reduce(
    (sum, { at, value }) => sum + (value - valueMean - perUnit * (at - atMean)) ** 2,
    0,
  );
  const error = T * Math.sqrt(rest / (BLOCKS - 2) / spread);
  return { perUnit, low: perUnit - error, high: perUnit + error };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
