/**
 * How windows are cut. Time goes in buckets, 8 of them a span. The short window of a key is its last 4 buckets, the
 * long one its last 4 spans, the newest of each only as far as time has come.
 */
export const BUCKETS = 4;
export const SPAN_SHIFT = 3;
/** Buckets that the long window may reach back. */
export const LONG_BUCKETS = BUCKETS << SPAN_SHIFT;
/** Flows in a row from before the long window after which a key's clock is taken to have been set back. */
export const SET_BACK_FLOWS = 16;
/** Distinct values that a key counts exactly; beyond that it estimates. */
export const EXACT_VALUES = 16;

const LATEST = 0x7fffff00;

/** The bucket of the time `times[at]`, ms: a whole number from 256 up, so that no window begins below 0. Times beyond all sense share one. */
export function bucketOf(times: Float64Array, at: number, bucketMs: number): number {
  const bucket = Math.floor((times[at] as number) / bucketMs);
  if (!(bucket > 0)) return 256;
  return bucket < LATEST - 256 ? bucket + 256 : LATEST;
}
