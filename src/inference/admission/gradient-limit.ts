import type { Milliseconds } from '../../base/index.ts';

export interface GradientLimitOptions {
  /** As many as there are workers: fewer would leave one idle. */
  readonly min: number;
  readonly max: number;
}

const INITIAL = 20;
const WINDOW = 600;
/** The first samples are averaged plainly, or the first one alone would set the scale. */
const WARM_UP = 10;
const TOLERANCE = 1.5;
const SMOOTHING = 0.2;
const QUEUE = 4;
const MIN_GRADIENT = 0.5;

/**
 * How much may be under way at once, learnt from how long it takes: Gradient2 of Netflix' concurrency-limits. Where recent
 * times grow to more than 1.5 times their long average the limit falls, by a half at most; else it grows by 4, each time smoothed
 * by 0.2. It stays where less than a half of it is used, since then the times say nothing about it.
 */
export class GradientLimit {
  readonly #options: GradientLimitOptions;
  #limit: number;
  #long = 0;
  #samples = 0;

  constructor(options: GradientLimitOptions) {
    this.#options = options;
    this.#limit = Math.max(options.min, Math.min(options.max, INITIAL));
  }

  /** Whole, within [min, max]. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** Notes that one took so long while so many were under way. */
  update(took: Milliseconds, underWay: number): void {
    if (!(took > 0)) return;
    this.#samples++;
    const factor = this.#samples <= WARM_UP ? 1 / this.#samples : 2 / (WINDOW + 1);
    this.#long += (took - this.#long) * factor;
    // After a long overload the average has to come down faster than its window.
    if (this.#long / took > 2) this.#long *= 0.95;
    if (underWay < this.#limit / 2) return;
    const gradient = Math.max(MIN_GRADIENT, Math.min(1, (TOLERANCE * this.#long) / took));
    const next = this.#limit * gradient + QUEUE;
    const { min, max } = this.#options;
    this.#limit = Math.max(min, Math.min(max, this.#limit * (1 - SMOOTHING) + next * SMOOTHING));
  }
}
