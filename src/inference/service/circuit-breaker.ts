import type { Milliseconds } from '../../base/index.ts';
import type { BreakerConfig } from './config.ts';

/** Why a call to a model failed; kept apart because they are mended in different ways. */
export const BREAKER_CAUSES = ['model-error', 'timeout', 'corrupt-output', 'worker-crash'] as const;
export type BreakerCause = (typeof BREAKER_CAUSES)[number];

/** The index is the value of the metric `breaker_state`. */
export const BREAKER_STATES = ['closed', 'half-open', 'open', 'withdrawn'] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

/** Calls of the last ten seconds. */
export interface BreakerCounts {
  readonly calls: number;
  readonly failed: Readonly<Record<BreakerCause, number>>;
}

export interface BreakerChange {
  readonly from: BreakerState;
  readonly to: BreakerState;
  /** Of most failures in the window; undefined where it closes again. */
  readonly cause?: BreakerCause;
  readonly counts: BreakerCounts;
}

export interface CircuitBreakerOptions {
  readonly config: BreakerConfig;
  /** In [0, 1): spreads the probes of many processes. */
  readonly random: () => number;
  /** Must not throw. */
  readonly onChange?: (change: BreakerChange) => void;
}

const BUCKETS = 10;
const BUCKET_MS: Milliseconds = 1_000;
const WIDTH = BREAKER_CAUSES.length + 1;
/** The ticket of a call that may not be. */
export const REFUSED = 0;

/**
 * Stops asking a model that fails. Closed, it counts calls and failures by cause in ten buckets of a second; open, it refuses; after
 * a jittered pause, that doubles each time, one call at a time is the probe that closes or opens it again. A model whose
 * outputs are corrupt is withdrawn for good: only a new load, with a new breaker, brings it back.
 *
 * Not cockatiel's: that one knows one kind of failure, lets probes wait in line, reads the wall clock, and wraps the
 * call in promises, where an event is scored in two microseconds. This one costs a comparison and two additions.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  /** Uint32Array, BUCKETS x WIDTH: successes, then failures by cause. */
  readonly #buckets = new Uint32Array(BUCKETS * WIDTH);
  readonly #sums = new Uint32Array(WIDTH);
  #second = Number.NEGATIVE_INFINITY;
  #state: BreakerState = 'closed';
  /** Grows with each change, so that what was admitted before it says nothing of the state after it. */
  #epoch = 1;
  #openUntil: Milliseconds = 0;
  #openings = 0;
  #cause: BreakerCause | undefined;
  #timeoutsInRow = 0;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Why it is not closed. */
  get cause(): BreakerCause | undefined {
    return this.#cause;
  }

  /** A ticket for one call, to be handed back by `succeed`, `fail` or `release`; 0 where the model may not be asked. */
  admit(now: Milliseconds): number {
    if (this.#state === 'closed') return this.#epoch;
    if (this.#state === 'withdrawn' || now < this.#openUntil) return REFUSED;
    if (this.#state === 'open') this.#change('half-open', this.#cause, now);
    // One probe at a time; where it never comes back, the next may try after another pause.
    this.#openUntil = now + this.#options.config.openMs;
    return this.#epoch;
  }

  succeed(ticket: number, now: Milliseconds): void {
    if (ticket !== this.#epoch) return;
    this.#timeoutsInRow = 0;
    if (this.#state === 'half-open') {
      this.#openings = 0;
      this.#clear();
      this.#change('closed', undefined, now);
      return;
    }
    this.#count(0, now);
  }

  fail(ticket: number, cause: BreakerCause, now: Milliseconds): void {
    if (ticket !== this.#epoch) return;
    const at = BREAKER_CAUSES.indexOf(cause) + 1;
    this.#count(at, now);
    this.#timeoutsInRow = cause === 'timeout' ? this.#timeoutsInRow + 1 : 0;
    const { config } = this.#options;
    if (this.#state === 'half-open') {
      if (cause === 'corrupt-output') this.#withdraw(now);
      else this.#open(cause, now);
      return;
    }
    let calls = 0;
    for (let i = 0; i < WIDTH; i++) calls += this.#sums[i] as number;
    const failed = calls - (this.#sums[0] as number);
    const corrupt = this.#sums[BREAKER_CAUSES.indexOf('corrupt-output') + 1] as number;
    if (corrupt >= config.corruptCalls && corrupt >= config.failureShare * calls) this.#withdraw(now);
    else if (calls >= config.minimumCalls && failed >= config.failureShare * calls) {
      this.#open(this.#worst(), now);
    } else if (this.#timeoutsInRow >= config.timeoutCalls) this.#open('timeout', now);
  }

  /** Hands a ticket back that says nothing of the model: the caller went away. */
  release(ticket: number): void {
    if (ticket !== this.#epoch || this.#state !== 'half-open') return;
    this.#openUntil = 0;
  }

  /** Until the next probe may be; undefined where there will be none. */
  retryAfterMs(now: Milliseconds): Milliseconds | undefined {
    if (this.#state === 'withdrawn') return undefined;
    return this.#state === 'closed' ? 0 : Math.max(0, this.#openUntil - now);
  }

  counts(now: Milliseconds): BreakerCounts {
    this.#advance(now);
    const [succeeded = 0, ...failures] = this.#sums;
    const failed = Object.fromEntries(BREAKER_CAUSES.map((cause, i) => [cause, failures[i] ?? 0]));
    return {
      calls: failures.reduce((sum, n) => sum + n, succeeded),
      failed: failed as Record<BreakerCause, number>,
    };
  }

  #withdraw(now: Milliseconds): void {
    this.#openUntil = Number.POSITIVE_INFINITY;
    this.#change('withdrawn', 'corrupt-output', now);
  }

  #open(cause: BreakerCause, now: Milliseconds): void {
    const { config, random } = this.#options;
    const pause = Math.min(config.maxOpenMs, config.openMs * 2 ** this.#openings);
    this.#openings++;
    this.#openUntil = now + pause * (1 + config.jitter * (2 * random() - 1));
    this.#change('open', cause, now);
  }

  #change(to: BreakerState, cause: BreakerCause | undefined, now: Milliseconds): void {
    const from = this.#state;
    const counts = this.counts(now);
    this.#state = to;
    this.#cause = cause;
    this.#epoch++;
    this.#options.onChange?.({ from, to, ...(cause !== undefined && { cause }), counts });
  }

  #worst(): BreakerCause {
    let worst = 1;
    for (let i = 2; i < WIDTH; i++) {
      if ((this.#sums[i] as number) > (this.#sums[worst] as number)) worst = i;
    }
    return BREAKER_CAUSES[worst - 1] as BreakerCause;
  }

  #count(column: number, now: Milliseconds): void {
    this.#advance(now);
    const at = (this.#second % BUCKETS) * WIDTH + column;
    this.#buckets[at] = (this.#buckets[at] as number) + 1;
    this.#sums[column] = (this.#sums[column] as number) + 1;
  }

  /** Takes the buckets that have left the window out of the sums. */
  #advance(now: Milliseconds): void {
    const second = Math.floor(now / BUCKET_MS);
    if (second <= this.#second) return;
    const gone = Math.min(BUCKETS, second - this.#second);
    for (let k = 0; k < gone; k++) {
      const bucket = ((second - k) % BUCKETS) * WIDTH;
      for (let i = 0; i < WIDTH; i++) {
        this.#sums[i] = (this.#sums[i] as number) - (this.#buckets[bucket + i] as number);
        this.#buckets[bucket + i] = 0;
      }
    }
    this.#second = second;
  }

  #clear(): void {
    this.#buckets.fill(0);
    this.#sums.fill(0);
  }
}
