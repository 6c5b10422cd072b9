import { type HistogramCounts, LATENCY_BUCKETS, type Milliseconds } from '../base/index.ts';

/** Counts values in buckets, some nanoseconds each: for what happens a hundred thousand times a second. */
export class BucketHistogram {
  readonly #bounds: Float64Array;
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` ascending; in seconds, those of all latencies by default. */
  constructor(bounds: readonly number[] = LATENCY_BUCKETS) {
    this.#bounds = Float64Array.from(bounds);
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at++;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += value;
  }

  observeMs(ms: Milliseconds): void {
    this.observe(ms / 1000);
  }

  snapshot(): HistogramCounts {
    let count = 0;
    const counts: number[] = [];
    for (const inBucket of this.#counts) {
      count += inBucket;
      counts.push(count);
    }
    counts.pop();
    return { bounds: [...this.#bounds], counts, count, sum: this.#sum };
  }
}
