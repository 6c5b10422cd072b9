import type { Bytes, Logger, Metrics, Milliseconds } from '../../base/index.ts';
import type { ThrottleState } from '../../monitor/index.ts';
import { type KnownValue, stateOf, type ValueState } from './value-state.ts';

/** What cached values can have been computed under. */
export const STAMP_KINDS = ['schema', 'model', 'indicators'] as const;
export type StampKind = (typeof STAMP_KINDS)[number];

export interface FeatureCacheOptions<V> {
  /** For the log and the metrics; of a closed set. */
  readonly name: string;
  /** How long a value holds, and how long it holds that there is none. */
  readonly ttlMs: Milliseconds;
  readonly negativeTtlMs?: Milliseconds;
  readonly budgetBytes: Bytes;
  /** Bytes of a value beside its entry. */
  readonly sizeOf: (value: V) => Bytes;
  /** Changes of these empty the cache. */
  readonly dependsOn: readonly StampKind[];
  readonly logger: Logger;
}

/** The part of the monitor that a cache listens to. */
export interface ThrottleSignal {
  subscribe(event: 'throttle', listener: (state: ThrottleState) => void): () => void;
}

export interface CacheCounters {
  readonly present: number;
  readonly stale: number;
  readonly missing: number;
  readonly evicted: number;
  /** Times the cache was emptied, by what had changed. */
  readonly invalidated: Readonly<Record<StampKind, number>>;
}

interface Entry<V> extends KnownValue<V> {
  readonly bytes: Bytes;
}

/**
 * Bytes of an entry beside key and value: the map's slot at its least load, the entry's object and boxed times, rounded
 * up. Keys are counted at two bytes a character. An estimate: measured, 100,000 entries took within a fifth of it.
 */
const ENTRY_BYTES: Bytes = 160;

/** Share of the budget at each level of the throttle that short memory has caused. */
const SHARES: Readonly<Record<ThrottleState['level'], number>> = {
  none: 1,
  'slow-training': 1 / 2,
  'slow-batch': 1 / 4,
  shed: 1 / 16,
};

/** Values by key, within a budget of memory; the one unused longest goes first. Time is passed in. */
export class FeatureCache<V> {
  readonly #options: FeatureCacheOptions<V>;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry<V>>();
  readonly #stamps = new Map<string, string>();
  readonly #counters = { present: 0, stale: 0, missing: 0, evicted: 0 };
  readonly #invalidated = { schema: 0, model: 0, indicators: 0 };
  /** Counts how often the cache was emptied: an answer to a question from before is not kept. */
  generation = 0;
  #share = 1;
  #bytes: Bytes = 0;

  constructor(options: FeatureCacheOptions<V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Estimated; see `ENTRY_BYTES`. */
  get bytes(): Bytes {
    return this.#bytes;
  }

  get counters(): CacheCounters {
    return { ...this.#counters, invalidated: { ...this.#invalidated } };
  }

  /** What is known of a key, and its state at a time. A value that became known later than that is missing. */
  read(key: string, atMs: Milliseconds): { readonly state: ValueState; readonly known?: KnownValue<V> } {
    const known = this.#entries.get(key);
    const state = stateOf(known, atMs);
    if (state !== 'invalid') this.#counters[state]++;
    if (known === undefined) return { state };
    this.#entries.delete(key);
    this.#entries.set(key, known);
    return { state, known };
  }

  /** Whether a key need not be asked for: its value, or that there is none, still holds. */
  holds(key: string, atMs: Milliseconds): boolean {
    const known = this.#entries.get(key);
    return known !== undefined && atMs <= known.sinceMs + known.ttlMs;
  }

  /** Notes a value; undefined is that there is none. A value larger than the budget is not kept. */
  write(key: string, value: V | undefined, sinceMs: Milliseconds): void {
    const { ttlMs, negativeTtlMs = ttlMs, sizeOf } = this.#options;
    const bytes = ENTRY_BYTES + key.length * 2 + (value === undefined ? 0 : sizeOf(value));
    this.#drop(key);
    if (bytes > this.#budget) return;
    this.#makeRoom(bytes);
    this.#entries.set(key, { value, sinceMs, ttlMs: value === undefined ? negativeTtlMs : ttlMs, bytes });
    this.#bytes += bytes;
  }

  /**
   * Tells the version of something that values rest on: the digest of a schema or model (by the model's name), the
   * version of the indicators. Where it is another than before, and this cache depends on it, all is forgotten.
   */
  stamp(kind: StampKind, subject: string, version: string): void {
    if (!this.#options.dependsOn.includes(kind)) return;
    const key = `${kind} ${subject}`;
    const before = this.#stamps.get(key);
    this.#stamps.set(key, version);
    if (before === undefined || before === version) return;
    const { name, logger } = this.#options;
    const entries = this.#entries.size;
    this.clear();
    this.#invalidated[kind]++;
    logger.info({ cache: name, cause: kind, subject, from: before, to: version, entries }, 'cache emptied');
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
    this.generation++;
  }

  /** Shrinks while the monitor says that memory is short, and may grow again after. The returned function ends it. */
  follow(signal: ThrottleSignal): () => void {
    return signal.subscribe('throttle', ({ level, causes }) => {
      this.#share = level === 'none' || causes.includes('memoryAvailableBytes') ? SHARES[level] : this.#share;
      this.#makeRoom(0);
    });
  }

  /** Publishes size and counters. */
  observe(metrics: Metrics): void {
    const prefix = `cache_${this.#options.name}`;
    metrics.gauge(`${prefix}_entries`, 'Entries of the cache.', () => this.size);
    metrics.gauge(`${prefix}_bytes`, 'Estimated memory of the cache.', () => this.bytes);
    metrics.gauge(`${prefix}_evicted`, 'Entries that made room for others.', () => this.#counters.evicted);
    for (const cause of this.#options.dependsOn) {
      metrics.gauge(
        `${prefix}_emptied_by_${cause}`,
        `Times a change of ${cause} emptied the cache.`,
        () => this.#invalidated[cause],
      );
    }
  }

  get #budget(): Bytes {
    return this.#options.budgetBytes * this.#share;
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  #makeRoom(bytes: Bytes): void {
    for (const key of this.#entries.keys()) {
      if (this.#bytes + bytes <= this.#budget) return;
      this.#drop(key);
      this.#counters.evicted++;
    }
  }
}
