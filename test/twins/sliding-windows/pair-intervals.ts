import { FIRST_SLOTS } from './clock-table.ts';

/** Weight of the past once a pair has as many intervals: the moments are those of about the last 16. */
const MEMORY = 16;
/** Fewer intervals than this have no regularity to speak of. */
const LEAST = 3;
const FIELDS = 4;

/**
 * How regular the flows of a pair begin: mean and coefficient of variation of the times between successive starts, in
 * order of arrival and by amount, so that late flows need no rule. The first 16 count alike, then older ones fade
 * (exponentially weighted moments; T. Finch, "Incremental calculation of weighted mean and variance", 2009). A beacon
 * that is rarer than any window is seen here alone.
 */
export class PairIntervals {
  /** Intervals, last start, mean and variance (ms), by pair. */
  #moments = new Float64Array(FIRST_SLOTS * FIELDS);

  /**
   * Takes the start `times[start]`, ms, and writes mean (s) and variation, NaN below 3 intervals; the latter also where all
   * starts are one.
   */
  add(
    pair: number,
    isNew: boolean,
    times: Float64Array,
    start: number,
    cells: Float64Array,
    at: number,
    stride: number,
  ): void {
    const m = pair * FIELDS;
    if (m >= this.#moments.length) {
      const more = new Float64Array(2 * this.#moments.length);
      more.set(this.#moments);
      this.#moments = more;
    }
    const moments = this.#moments;
    const startMs = times[start] as number;
    const count = isNew ? 0 : (moments[m] as number) + 1;
    let mean = 0;
    let variance = 0;
    if (count > 0) {
      const weight = 1 / Math.min(count, MEMORY);
      const off = Math.abs(startMs - (moments[m + 1] as number)) - (moments[m + 2] as number);
      mean = (moments[m + 2] as number) + weight * off;
      variance = (1 - weight) * ((moments[m + 3] as number) + weight * off * off);
    }
    moments[m] = count;
    moments[m + 1] = startMs;
    moments[m + 2] = mean;
    moments[m + 3] = variance;
    cells[at] = count < LEAST ? Number.NaN : mean / 1000;
    cells[at + stride] = count < LEAST || !(mean > 0) ? Number.NaN : Math.sqrt(variance) / mean;
  }
}
