import type { Milliseconds } from './units.ts';

/** How long a batch takes: d(n) = perItemMs * n + fixedMs. */
export interface BatchCost {
  readonly perItemMs: Milliseconds;
  readonly fixedMs: Milliseconds;
}

export interface BatchSizeOptions {
  /** From the arrival of an item to the end of its batch. */
  readonly targetMs: Milliseconds;
  /** What memory or the consumer allows in one batch. */
  readonly maxItems: number;
}

/** Batches that the fit looks back on. */
const WINDOW = 256;
/** Time kept for what is not measured: timers, the way back. */
const SLACK: Milliseconds = 2;
/** A batch size grows only where it may by this factor, so that noise does not move it. */
const HYSTERESIS = 1.25;
/** One refused item in so many is let in, or nobody would learn that batches have become fast again. */
const PROBE_EVERY = 64;
/** Buckets by powers of two of the number of items. */
const BUCKETS = 32;

/**
 * How many items the next batch may hold so that queue and batch together meet a latency target. It fits d(n) = a n + b
 * to the 99th percentile of recent batches: the slope is the median of the slopes between sizes (Theil and Sen), each
 * size standing for its 99th percentile; b leaves 99 % of the batches under the line. An item may arrive just after a batch
 * began, so a batch may take half of the target. The size begins at 1 and doubles at most with each batch; it shrinks
 * at once. Until two sizes were seen, cost is taken to grow in proportion.
 */
export class BatchSize {
  readonly #options: BatchSizeOptions;
  readonly #slackMs: Milliseconds;
  readonly #items = new Float64Array(WINDOW);
  readonly #times = new Float64Array(WINDOW);
  readonly #scratch = new Float64Array(WINDOW);
  #seen = 0;
  #cost: BatchCost = { perItemMs: 0, fixedMs: 0 };
  #size = 1;
  #refused = 0;

  constructor(options: BatchSizeOptions) {
    this.#options = options;
    this.#slackMs = Math.min(SLACK, options.targetMs / 10);
  }

  get cost(): BatchCost {
    return this.#cost;
  }

  /** Items of a batch where nothing has waited yet. */
  get items(): number {
    return this.#size;
  }

  /** Notes what a batch took. Batches of no items tell nothing. */
  observe(items: number, took: Milliseconds): void {
    if (items <= 0) return;
    const at = this.#seen++ % WINDOW;
    this.#items[at] = items;
    this.#times[at] = took;
    this.#fit();
    const allowed = this.#itemsWithin(this.#options.targetMs / 2);
    if (allowed < this.#size) this.#size = allowed;
    // No further than twice what was tried: the line says little beyond.
    else if (allowed >= this.#size * HYSTERESIS && items * 2 > this.#size)
      this.#size = Math.min(allowed, items * 2);
  }

  /**
   * Items of the next batch, whose oldest item has waited so long; at least 1. What is too late already does not make
   * the batch small, or the items behind it would be late, too.
   */
  next(waitedMs: Milliseconds = 0): number {
    const left = this.#options.targetMs - waitedMs;
    if (left < this.predict(1) + this.#slackMs) return this.#size;
    return Math.min(this.#size, this.#itemsWithin(left));
  }

  predict(items: number): Milliseconds {
    return this.#cost.fixedMs + this.#cost.perItemMs * items;
  }

  /**
   * Whether an item that arrives now can be answered in time: behind `backlog` others, on a worker that is free in
   * `freeInMs`. One in 64 of those that cannot is let in nevertheless, to measure again.
   */
  admits(backlog: number, freeInMs: Milliseconds = 0): boolean {
    // Until the worker is free, more may arrive and fill its batch.
    const last = backlog === 0 && freeInMs === 0 ? 1 : this.#size;
    const batches = Math.floor(backlog / this.#size);
    const answered = freeInMs + batches * this.predict(this.#size) + this.predict(last) + this.#slackMs;
    if (answered <= this.#options.targetMs) return true;
    return ++this.#refused % PROBE_EVERY === 0;
  }

  #itemsWithin(ms: Milliseconds): number {
    const { perItemMs, fixedMs } = this.#cost;
    const left = ms - this.#slackMs - fixedMs;
    const items = perItemMs > 0 ? Math.floor(left / perItemMs) : left >= 0 ? Number.POSITIVE_INFINITY : 0;
    return Math.max(1, Math.min(items, this.#options.maxItems));
  }

  #fit(): void {
    const count = Math.min(this.#seen, WINDOW);
    const means: number[] = [];
    const highs: number[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      let inBucket = 0;
      let sum = 0;
      for (let i = 0; i < count; i++) {
        if (31 - Math.clz32(this.#items[i] as number) !== bucket) continue;
        sum += this.#items[i] as number;
        this.#scratch[inBucket++] = this.#times[i] as number;
      }
      if (inBucket === 0) continue;
      means.push(sum / inBucket);
      highs.push(percentile99(this.#scratch.subarray(0, inBucket)));
    }
    const perItemMs = Math.max(0, slope(means, highs));
    for (let i = 0; i < count; i++) {
      this.#scratch[i] = (this.#times[i] as number) - perItemMs * (this.#items[i] as number);
    }
    this.#cost = { perItemMs, fixedMs: Math.max(0, percentile99(this.#scratch.subarray(0, count))) };
  }
}

/** Median of the slopes between all pairs; through the origin where there is one point. */
function slope(x: readonly number[], y: readonly number[]): number {
  if (x.length === 1) return (y[0] as number) / (x[0] as number);
  const slopes: number[] = [];
  for (let i = 0; i < x.length; i++) {
    for (let j = i + 1; j < x.length; j++) {
      slopes.push(((y[j] as number) - (y[i] as number)) / ((x[j] as number) - (x[i] as number)));
    }
  }
  slopes.sort((a, b) => a - b);
  return ((slopes[(slopes.length - 1) >> 1] as number) + (slopes[slopes.length >> 1] as number)) / 2;
}

/** Sorts in place; the largest of fewer than 100. */
function percentile99(values: Float64Array): number {
  values.sort();
  return values[Math.ceil(values.length * 0.99) - 1] as number;
}
