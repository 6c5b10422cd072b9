import type { Milliseconds } from '../../base/index.ts';
import type { ServedGuardian } from '../handler.ts';

/** How often something was done, and for how long. */
export interface Spent {
  readonly count: number;
  /** Whole nanoseconds, all of them together. */
  readonly ns: number;
}

/** Parts of a request that was answered, in milliseconds. */
export interface RequestTimes {
  /** From the body to checked rows. */
  readonly input: Milliseconds;
  /** From the rows to their scores; what the request waited for others is in it. */
  readonly infer: Milliseconds;
  /** From the scores to the body. */
  readonly output: Milliseconds;
}

/** The statistics of a model version, in the names and shape of the protocol's extension. */
export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since 1970; 0 where there was none. */
  readonly last_inference: number;
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<
    Record<
      | 'success'
      | 'fail'
      | 'queue'
      | 'compute_input'
      | 'compute_infer'
      | 'compute_output'
      | 'cache_hit'
      | 'cache_miss',
      Spent
    >
  >;
  readonly batch_stats: readonly {
    readonly batch_size: number;
    readonly compute_input: Spent;
    readonly compute_infer: Spent;
    readonly compute_output: Spent;
  }[];
  readonly memory_usage: readonly never[];
}

/** Model versions that are counted; the one counted first is forgotten for a new one. */
const MAX_MODELS = 64;
/** Batch sizes of a model that are told apart; rows of further sizes count in the totals only. */
const MAX_SIZES = 128;
const NEVER: Spent = { count: 0, ns: 0 };

class Timer {
  count = 0;
  #ms: Milliseconds = 0;

  add(ms: Milliseconds): void {
    this.count++;
    this.#ms += ms;
  }

  read(): Spent {
    return { count: this.count, ns: Math.round(this.#ms * 1e6) };
  }
}

interface Timers {
  readonly input: Timer;
  readonly infer: Timer;
  readonly output: Timer;
}

interface Counters extends Timers {
  readonly name: string;
  readonly version: string;
  lastInference: number;
  rows: number;
  readonly success: Timer;
  readonly fail: Timer;
  readonly sizes: Map<number, Timers>;
}

/** What the inference protocols did since the start, by model version: REST and gRPC together. */
export class InferenceStatistics {
  readonly #models = new Map<string, Counters>();

  succeeded(model: { name: string; version: string }, rows: number, times: RequestTimes, now: number): void {
    const counters = this.#of(model.name, model.version);
    counters.success.add(times.input + times.infer + times.output);
    counters.rows += rows;
    counters.lastInference = now;
    addTimes(counters, times);
    let size = counters.sizes.get(rows);
    if (size === undefined && counters.sizes.size < MAX_SIZES) {
      size = newTimers();
      counters.sizes.set(rows, size);
    }
    if (size !== undefined) addTimes(size, times);
  }

  failed(model: { name: string; version: string }, ms: Milliseconds): void {
    this.#of(model.name, model.version).fail.add(ms);
  }

  /** Of one model version; zeros where it was not asked yet. */
  read(name: string, version: string): ModelStatistics {
    return shown(this.#models.get(`${name}@${version}`) ?? newCounters(name, version));
  }

  /** Versions that were asked, of a model or of all. */
  asked(name?: string): readonly { readonly name: string; readonly version: string }[] {
    return [...this.#models.values()].filter((each) => name === undefined || each.name === name);
  }

  #of(name: string, version: string): Counters {
    const key = `${name}@${version}`;
    let found = this.#models.get(key);
    if (found === undefined) {
      if (this.#models.size >= MAX_MODELS) this.#models.delete(this.#models.keys().next().value as string);
      found = newCounters(name, version);
      this.#models.set(key, found);
    }
    return found;
  }
}

const known = new WeakMap<ServedGuardian['engine'], InferenceStatistics>();

/** Those of a guardian; its ports share them. */
export function statisticsOf({ engine }: Pick<ServedGuardian, 'engine'>): InferenceStatistics {
  let found = known.get(engine);
  if (found === undefined) {
    found = new InferenceStatistics();
    known.set(engine, found);
  }
  return found;
}

function newTimers(): Timers {
  return { input: new Timer(), infer: new Timer(), output: new Timer() };
}

function newCounters(name: string, version: string): Counters {
  const own = { success: new Timer(), fail: new Timer(), sizes: new Map<number, Timers>() };
  return { name, version, lastInference: 0, rows: 0, ...own, ...newTimers() };
}

function addTimes(timers: Timers, { input, infer, output }: RequestTimes): void {
  timers.input.add(input);
  timers.infer.add(infer);
  timers.output.add(output);
}

function shown(counters: Counters): ModelStatistics {
  const { name, version, success } = counters;
  return {
    name,
    version,
    last_inference: Math.round(counters.lastInference),
    inference_count: counters.rows,
    execution_count: success.count,
    inference_stats: {
      success: success.read(),
      fail: counters.fail.read(),
      // Waiting is not told apart from scoring here; guardian_inference_queue_seconds of the metrics does.
      queue: { count: success.count, ns: 0 },
      ...computed(counters),
      cache_hit: NEVER,
      cache_miss: NEVER,
    },
    batch_stats: [...counters.sizes]
      .sort(([a], [b]) => a - b)
      .map(([batch_size, timers]) => ({ batch_size, ...computed(timers) })),
    memory_usage: [],
  };
}

function computed({ input, infer, output }: Timers) {
  return { compute_input: input.read(), compute_infer: infer.read(), compute_output: output.read() };
}
