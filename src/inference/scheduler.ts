import { availableParallelism } from 'node:os';
import type { Clock, Milliseconds } from '../base/index.ts';
import type { VerifiedModel } from '../registry/index.ts';
import { Admission, type Pressure } from './admission/admission.ts';
import type { Priority, Refusal } from './admission/refusal.ts';
import { Dispatcher } from './batching/dispatcher.ts';
import { type Outcome, SlicedRequest, type SlicedWork, untilAfter } from './batching/sliced-request.ts';
import type { InferenceConfig } from './config.ts';
import { scoreOnDevice } from './gpu/device-request.ts';
import { type PoolStats, ThreadPool } from './pool/thread-pool.ts';
import { RemotePool } from './remote/remote-pool.ts';
import type { ServedModel } from './served-model.ts';

export interface SchedulerOptions {
  readonly config: InferenceConfig;
  readonly clock: Clock;
  /** What the machine can spare. */
  readonly pressure?: (() => Pressure) | undefined;
  /** Told of each batch that was scored by way of the queue. */
  readonly onBatch?: (served: ServedModel, rows: number, took: Milliseconds) => void;
  /** Code of the pool's threads; the pool's own by default. */
  readonly threadEntry?: URL | undefined;
  /** Models are offered to workers over a bus, which score batches where that is configured; see `remote`. */
  readonly isShared?: boolean | undefined;
}

export interface SchedulerStats {
  /** Requests that may be under way at once now. */
  readonly limit: number;
  readonly underWay: number;
  readonly waiting: number;
  readonly pool: PoolStats;
}

/** A row is taken to cost so much where a warm-up measured nothing. */
const ROW_COST: Milliseconds = 0.002;
/** Scoring that costs less than so many hops to a thread stays here. */
const HOPS = 2;
/** Batch work of so few rows does not wait, pressure or not: its turn in the queue would cost more. */
const TRIFLE_ROWS = 8;
/** Under pressure, batch work comes in slices of a quarter, so that live work has its turn sooner. */
const THROTTLED_PART = 4;
/** A thread costs the best part of a second of CPU to start: it starts where that has proved to be worth it. */
const START_AFTER: Milliseconds = 500;
const NO_THREADS: PoolStats = { threads: 0, busy: 0, lost: 0, refused: 0 };

/**
 * Where and when rows are scored: little at once and here, more by way of admission, slices and joined batches in the threads of
 * the pool. The pool starts with `start`, or once it would have been of use for half a second.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #admission: Admission;
  readonly #dispatcher: Dispatcher;
  readonly #pool: ThreadPool | RemotePool | undefined;
  readonly #threads: number;
  readonly #pressure: () => Pressure;
  /** Time that was scored here and would have been scored in threads. */
  #missedMs: Milliseconds = 0;

  constructor(options: SchedulerOptions) {
    const { config, clock, pressure = () => 'none', threadEntry, isShared } = options;
    const { batchSize, maxConcurrentRequests, batchWaitMs } = config;
    this.#options = options;
    this.#pressure = pressure;
    this.#threads = config.workers ?? Math.max(0, availableParallelism() - 1);
    const onFree = () => this.#dispatcher.pump();
    const local =
      this.#threads === 0
        ? undefined
        : new ThreadPool({
            ...{ threads: this.#threads, rows: batchSize, clock, onFree },
            ...(threadEntry !== undefined && { entry: threadEntry }),
          });
    const isScoring = config.pool === 'bus';
    this.#pool =
      isShared === true ? new RemotePool({ clock, rows: batchSize, isScoring, local, onFree }) : local;
    this.#dispatcher = new Dispatcher({
      ...{ clock, batchSize, waitMs: batchWaitMs, pool: this.#pool, onBatch: options.onBatch },
      isThrottled: () => this.#isThrottled(),
    });
    this.#admission = new Admission({
      ...{ clock, maxRequests: maxConcurrentRequests, workers: this.#threads, pressure },
    });
  }

  get stats(): SchedulerStats {
    const { limit, underWay, waiting } = this.#admission;
    return { limit, underWay, waiting, pool: this.#pool?.stats ?? NO_THREADS };
  }

  /** The workers over the bus, where models are shared with them. */
  get remote(): RemotePool | undefined {
    return this.#pool instanceof RemotePool ? this.#pool : undefined;
  }

  /** Starts the threads of the pool; resolves when they are ready, or have failed. */
  async start(): Promise<void> {
    await this.#pool?.start();
  }

  /** A model that may be scored in threads from now on. */
  async add(served: ServedModel, verified: VerifiedModel): Promise<void> {
    const isShared = this.#pool instanceof RemotePool;
    if (isShared || served.runtime.kind === 'inline') {
      await this.#pool?.add(served, verified, served.operatingPoint);
    }
  }

  /** No request can reach the model any longer. */
  remove(served: ServedModel): void {
    this.#pool?.remove(served);
    served.device?.close();
  }

  /** Whether rows are scored at once and on this thread, by the caller. */
  isInline(served: ServedModel, rows: number, priority: Priority): boolean {
    if (served.runtime.kind !== 'inline' || rows > this.#options.config.batchSize) return false;
    if (served.device?.takes(rows) === true) return false;
    const cost = rows * (served.rowCostMs || ROW_COST);
    if (priority === 'batch') {
      if (this.#pressure() === 'shed') return false;
      if (rows > TRIFLE_ROWS && (this.#isThrottled() || !this.#dispatcher.isIdle)) return false;
    }
    if (this.#pool === undefined || cost <= HOPS * this.#pool.hopMs) return true;
    if (this.#pool.has(served)) return false;
    // Until it is ready it costs nobody a wait.
    this.#missedMs += cost;
    if (this.#missedMs > START_AFTER) void this.#pool.start();
    return true;
  }

  /** Scores a batch by way of the queue. A refusal where there is no room for it. */
  async score(work: SlicedWork): Promise<Outcome | Refusal> {
    const { served, batch, priority, deadline } = work;
    const { clock, config } = this.#options;
    const arrived = clock.monotonic();
    if (arrived + this.#dispatcher.waitFor(served, batch.rows) > deadline) {
      return this.#admission.refusal('deadline');
    }
    const entered = await this.#enter(work);
    if (typeof entered === 'object') return entered;
    const waited = clock.monotonic() - arrived;
    if (entered !== 'in') return { state: entered, scored: 0, spent: 0, waited };
    if (served.device?.takes(batch.rows) === true) {
      const outcome = await scoreOnDevice(work, served.device, clock);
      if (outcome !== undefined) {
        this.#admission.leave(priority);
        this.#options.onBatch?.(served, batch.rows, outcome.spent);
        return { ...outcome, waited: waited + outcome.waited };
      }
    }
    const sliceRows =
      priority === 'batch' && this.#isThrottled()
        ? Math.max(1, Math.floor(config.batchSize / THROTTLED_PART))
        : config.batchSize;
    const outcome = await new SlicedRequest(work, {
      ...{ dispatcher: this.#dispatcher, clock, sliceRows, width: this.#pool?.width ?? 1 },
      onSlice: (took) => this.#admission.observe(took),
    }).run();
    this.#admission.leave(priority);
    return { ...outcome, waited: waited + outcome.waited };
  }

  async close(): Promise<void> {
    this.#dispatcher.close();
    await this.#pool?.close();
  }

  #isThrottled(): boolean {
    const pressure = this.#pressure();
    return pressure === 'slow-batch' || pressure === 'shed';
  }

  /** Waits for its turn, no longer than to the deadline or until the caller goes away. */
  #enter({ priority, deadline, signal }: SlicedWork): Promise<'in' | 'late' | 'withdrawn' | Refusal> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (how: 'in' | 'late' | 'withdrawn' | Refusal): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        resolve(how);
      };
      const onAbort = (): void => giveUp('withdrawn');
      const entered = this.#admission.enter(priority, (refusal) => end(refusal ?? 'in'));
      const giveUp = (how: 'late' | 'withdrawn'): void => {
        if (entered !== undefined && 'isGone' in entered) this.#admission.withdraw(entered);
        end(how);
      };
      if (entered === undefined) return end('in');
      if (!('isGone' in entered)) return end(entered);
      if (entered.isGone) return;
      timer = setTimeout(giveUp, untilAfter(deadline, this.#options.clock), 'late');
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
