import type { Milliseconds } from '../../base/index.ts';
import type { ExecutionReport } from '../../inference/index.ts';
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
  /** Until its first row was scored. */
  readonly queue: Milliseconds;
  /** From there to its scores. */
  readonly infer: Milliseconds;
  /** From the scores to the body. */
  readonly output: Milliseconds;
}

/**
 * The statistics of a model version, in the names and shape of the protocol's extension. `inference_count` is rows and
 * `execution_count` the batches they were computed in, whichever route they came by: their ratio is the mean size of a batch.
 * The times of `inference_stats` are those of requests. Of `batch_stats`, `compute_infer` is that of batches; input and output are
 * prepared a request and not a batch, and given where a request had as many rows.
 */
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
  readonly queue: Timer;
  readonly success: Timer;
  readonly fail: Timer;
  readonly sizes: Map<number, Timers>;
}

/** What the inference protocols did since the start, by model version: REST and gRPC together. */
export class InferenceStatistics {
  readonly #models = new Map<string, Counters>();
  readonly #executions: ServedGuardian['engine']['executions'];

  constructor(executions: ServedGuardian['engine']['executions']) {
    this.#executions = executions;
  }

  succeeded(model: { name: string; version: string }, rows: number, times: RequestTimes, now: number): void {
    const counters = this.#of(model.name, model.version);
    counters.success.add(times.input + times.queue + times.infer + times.output);
    counters.queue.add(times.queue);
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
    const counters = this.#models.get(`${name}@${version}`) ?? newCounters(name, version);
    return shown(counters, this.#executions(name, version));
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
    found = new InferenceStatistics((name, version) => engine.executions(name, version));
    known.set(engine, found);
  }
  return found;
}

function newTimers(): Timers {
  return { input: new Timer(), infer: new Timer(), output: new Timer() };
}

function newCounters(name: string, version: string): Counters {
  const own = {
    success: new Timer(),
    fail: new Timer(),
    queue: new Timer(),
    sizes: new Map<number, Timers>(),
  };
  return { name, version, lastInference: 0, ...own, ...newTimers() };
}

function addTimes(timers: Timers, { input, infer, output }: RequestTimes): void {
  timers.input.add(input);
  timers.infer.add(infer);
  timers.output.add(output);
}

function shown(counters: Counters, executions: ExecutionReport): ModelStatistics {
  const { name, version, success } = counters;
  return {
    name,
    version,
    last_inference: Math.round(counters.lastInference),
    inference_count: executions.rows,
    execution_count: executions.count,
    inference_stats: {
      success: success.read(),
      fail: counters.fail.read(),
      queue: counters.queue.read(),
      ...computed(counters),
      cache_hit: NEVER,
      cache_miss: NEVER,
    },
    batch_stats: executions.sizes.map(({ rows, count, spentMs }) => {
      const requests = counters.sizes.get(rows);
      return {
        batch_size: rows,
        compute_input: requests?.input.read() ?? NEVER,
        compute_infer: { count, ns: Math.round(spentMs * 1e6) },
        compute_output: requests?.output.read() ?? NEVER,
      };
    }),
    memory_usage: [],
  };
}

function computed({ input, infer, output }: Timers) {
  return { compute_input: input.read(), compute_infer: infer.read(), compute_output: output.read() };
}
