import type { Clock, Milliseconds } from '../../base/index.ts';
import { FeatureCache, type FeatureCacheOptions } from './feature-cache.ts';
import type { KnownValue, ValueState } from './value-state.ts';

export interface RefreshOptions<V> extends FeatureCacheOptions<V> {
  /** Asks for one value; undefined is that there is none. */
  readonly ask: (key: string, signal: AbortSignal) => Promise<V | undefined>;
  readonly clock: Clock;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
  readonly limits?: Partial<RefreshLimits>;
}

export interface RefreshLimits {
  /** Questions at once. */
  readonly concurrency: number;
  /** Keys that wait to be asked for; beyond it they are dropped and counted, and asked for when read again. */
  readonly waiting: number;
  readonly timeoutMs: Milliseconds;
  /** After a failure nothing is asked for so long, doubled with each further failure up to the longest. */
  readonly backOffMs: Milliseconds;
  readonly longestBackOffMs: Milliseconds;
}

export const REFRESH_LIMITS: RefreshLimits = {
  concurrency: 4,
  waiting: 1_024,
  timeoutMs: 5_000,
  backOffMs: 1_000,
  longestBackOffMs: 60_000,
};

export interface RefreshCounters {
  readonly asked: number;
  readonly failed: number;
  readonly dropped: number;
}

/**
 * A cache in front of a slow source. Reading never waits: what is missing or stale is asked for in the background,
 * each key once however often it is read meanwhile, and is there for a later row.
 */
export class RefreshedCache<V> {
  readonly cache: FeatureCache<V>;
  readonly #options: RefreshOptions<V>;
  readonly #limits: RefreshLimits;
  readonly #counters = { asked: 0, failed: 0, dropped: 0 };
  /** Keys that wait, in order; a key that is being asked for stands in `#asking`. */
  readonly #waiting = new Set<string>();
  readonly #asking = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  #failures = 0;
  #quietUntil: Milliseconds = Number.NEGATIVE_INFINITY;

  constructor(options: RefreshOptions<V>) {
    this.#options = options;
    this.#limits = { ...REFRESH_LIMITS, ...options.limits };
    this.cache = new FeatureCache(options);
  }

  get counters(): RefreshCounters {
    return { ...this.#counters };
  }

  /** As `FeatureCache.read`; begins a refresh where the value does not hold now. */
  read(key: string, atMs: Milliseconds): { readonly state: ValueState; readonly known?: KnownValue<V> } {
    const found = this.cache.read(key, atMs);
    if (!this.cache.holds(key, this.#options.clock.now())) this.#want(key);
    return found;
  }

  /** Resolves when nothing is being asked for; never rejects. */
  async settled(): Promise<void> {
    while (this.#asking.size > 0) await Promise.all(this.#asking.values());
  }

  /** Ends what is under way; nothing is asked for after. */
  async close(): Promise<void> {
    this.#waiting.clear();
    this.#closing.abort();
    await this.settled();
  }

  #want(key: string): void {
    if (this.#closing.signal.aborted || this.#asking.has(key) || this.#waiting.has(key)) return;
    if (this.#options.clock.monotonic() < this.#quietUntil) return;
    if (this.#waiting.size >= this.#limits.waiting) {
      this.#counters.dropped++;
      return;
    }
    this.#waiting.add(key);
    this.#askNext();
  }

  #askNext(): void {
    for (const key of this.#waiting) {
      if (this.#asking.size >= this.#limits.concurrency) return;
      this.#waiting.delete(key);
      const asking = this.#ask(key).then(() => {
        this.#asking.delete(key);
        this.#askNext();
      });
      this.#asking.set(key, asking);
    }
  }

  async #ask(key: string): Promise<void> {
    const { ask, clock } = this.#options;
    this.#counters.asked++;
    const { generation } = this.cache;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#limits.timeoutMs)]);
    const ended = Promise.withResolvers<never>();
    const end = () => ended.reject(signal.reason);
    signal.addEventListener('abort', end, { once: true });
    try {
      // A source that does not heed the signal does not hold a place either.
      const value = await Promise.race([ask(key, signal), ended.promise]);
      if (generation === this.cache.generation) this.cache.write(key, value, clock.now());
      this.#failures = 0;
    } catch {
      if (!this.#closing.signal.aborted) this.#backOff();
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  /** The source is spared as a whole: what waits is dropped, and asked for when it is read again. */
  #backOff(): void {
    const { backOffMs, longestBackOffMs } = this.#limits;
    const longest = Math.min(longestBackOffMs, backOffMs * 2 ** this.#failures);
    this.#failures++;
    this.#counters.failed++;
    this.#counters.dropped += this.#waiting.size;
    this.#waiting.clear();
    this.#quietUntil = this.#options.clock.monotonic() + longest * (0.5 + this.#options.random() / 2);
  }
}
