import { BatchSize, type Clock, GuardianError, type Milliseconds } from '../../base/index.ts';
import type { BatchPool, BatchTerms, PoolSeat } from '../pool/batch-pool.ts';
import type { ServedModel } from '../served-model.ts';
import { DeadlineBatcher } from './deadline-batcher.ts';
import { copyValues, giveResults, LaterBuffers } from './joined-batch.ts';
import type { RunningBatch, Slice } from './slice.ts';

export interface DispatcherOptions {
  readonly clock: Clock;
  /** Rows of a batch at most. */
  readonly batchSize: number;
  readonly waitMs: Milliseconds;
  /** Where it is left out, this thread scores. */
  readonly pool?: BatchPool | undefined;
  /** Batch work has to wait for live work. */
  readonly isThrottled: () => boolean;
  readonly onBatch?: ((served: ServedModel, rows: number, took: Milliseconds) => void) | undefined;
}

/** The batches of one model that wait. */
interface ModelQueue {
  readonly served: ServedModel;
  readonly batcher: DeadlineBatcher<Slice>;
  readonly cost: BatchSize;
  /** Of a runtime that answers later; made at its first batch. */
  buffers?: LaterBuffers;
  isBusy: boolean;
}

/** A thread that still scores what nobody waits for is given so long before it is ended. */
const HANG_MS: Milliseconds = 1_000;
/** A slice that was lost with its thread is tried once more. */
const MAX_ATTEMPTS = 2;

/**
 * Brings slices to whatever can score them: the pool, a runtime that answers later, or, where there is neither,
 * this thread between two events. One batch at a time for each of them; the model with the earliest deadline first. Driven by events:
 * a slice comes, something becomes free, a batch is due.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #queues = new Map<ServedModel, ModelQueue>();
  readonly #costs = new WeakMap<ServedModel, BatchSize>();
  #isTurnAsked = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Whether nothing waits. */
  get isIdle(): boolean {
    return this.#queues.size === 0;
  }

  /** What so many rows of a model take from now on, behind what waits already; 0 while nothing waits. */
  waitFor(served: ServedModel, rows: number): Milliseconds {
    const queue = this.#queues.get(served);
    if (queue === undefined || queue.batcher.isEmpty) return 0;
    const { batchSize, pool } = this.#options;
    const atOnce = pool?.has(served) === true ? pool.width : 1;
    const batches = Math.ceil((queue.batcher.rows + rows) / batchSize / atOnce);
    return batches * queue.cost.predict(Math.min(batchSize, queue.batcher.rows + rows));
  }

  submit(slice: Slice): void {
    this.#queue(slice.served).batcher.push(slice);
    this.pump();
  }

  /** Begins whatever is due. To be called when something has become free. */
  pump(): void {
    for (;;) {
      const now = this.#options.clock.monotonic();
      const [queue, dueAt] = this.#next();
      if (queue === undefined) return;
      if (dueAt > now) {
        this.#wakeIn(dueAt - now);
        return;
      }
      if (queue.served.runtime.kind === 'asynchronous') this.#scoreLater(queue, now);
      else if (this.#options.pool?.has(queue.served) === true) this.#scoreInPool(queue, now);
      else this.#askForTurn();
    }
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  /** Of those with something free to score them: the one due first, then the earliest deadline. */
  #next(): [ModelQueue | undefined, Milliseconds] {
    let next: ModelQueue | undefined;
    let nextDue = Number.POSITIVE_INFINITY;
    let nextDeadline = Number.POSITIVE_INFINITY;
    for (const queue of this.#queues.values()) {
      const { batcher, served } = queue;
      const deadline = batcher.earliestDeadline;
      if (deadline === Number.POSITIVE_INFINITY) {
        if (!queue.isBusy) this.#queues.delete(served);
        continue;
      }
      if (!this.#canBegin(queue)) continue;
      const due = batcher.dueAt();
      if (due > nextDue || (due === nextDue && deadline >= nextDeadline)) continue;
      next = queue;
      nextDue = due;
      nextDeadline = deadline;
    }
    return [next, nextDue];
  }

  #canBegin({ served, isBusy }: ModelQueue): boolean {
    if (served.runtime.kind === 'asynchronous') return !isBusy;
    const { pool } = this.#options;
    return pool?.has(served) === true ? pool.isFree(served) : !this.#isTurnAsked;
  }

  #queue(served: ServedModel): ModelQueue {
    const known = this.#queues.get(served);
    if (known !== undefined) return known;
    const { batchSize, waitMs } = this.#options;
    const cost =
      this.#costs.get(served) ?? new BatchSize({ targetMs: Number.MAX_SAFE_INTEGER, maxItems: batchSize });
    this.#costs.set(served, cost);
    const batcher = new DeadlineBatcher<Slice>({
      ...{ maxRows: batchSize, waitMs, cost: (rows: number) => cost.predict(rows) },
    });
    const queue: ModelQueue = { served, batcher, cost, isBusy: false };
    this.#queues.set(served, queue);
    return queue;
  }

  #wakeIn(ms: Milliseconds): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.pump(), Math.ceil(ms)).unref();
  }

  /** This thread scores between two events, a batch a turn. */
  #askForTurn(): void {
    this.#isTurnAsked = true;
    setImmediate(() => {
      this.#isTurnAsked = false;
      const [queue, dueAt] = this.#next();
      const isHere =
        queue?.served.runtime.kind === 'inline' && this.#options.pool?.has(queue.served) !== true;
      if (isHere && dueAt <= this.#options.clock.monotonic()) this.#scoreHere(queue);
      this.pump();
    });
  }

  #scoreHere(queue: ModelQueue): void {
    const { clock } = this.#options;
    for (const slice of this.#take(queue, clock.monotonic())) {
      const { served, batch, from, rows, confidenceThreshold, out } = slice;
      slice.began = clock.monotonic();
      let error: unknown;
      try {
        served.score(batch, from, from + rows, confidenceThreshold, out);
      } catch (thrown) {
        error = thrown ?? 'nothing';
      }
      const took = clock.monotonic() - slice.began;
      this.#observe(queue, rows, took);
      if (error === undefined) slice.owner.scored(slice, took);
      else slice.owner.failed(slice, took, error);
    }
  }

  #scoreInPool(queue: ModelQueue, now: Milliseconds): void {
    const pool = this.#options.pool as BatchPool;
    const seat = pool.take(queue.served);
    if (seat === undefined) return;
    const slices = this.#take(queue, now);
    if (slices.length === 0) {
      pool.release(seat);
      return;
    }
    const rows = copyValues(slices, queue.served.columns, seat.values);
    const running = new Running(slices, () => this.#watch(seat));
    const scoring = pool.run(seat, queue.served, rows, termsOf(slices));
    void this.#settle(queue, slices, running, scoring, seat.out).finally(() => {
      running.end();
      pool.release(seat);
      this.pump();
    });
  }

  #scoreLater(queue: ModelQueue, now: Milliseconds): void {
    const { served } = queue;
    const slices = this.#take(queue, now);
    if (slices.length === 0) return;
    queue.buffers ??= new LaterBuffers(this.#options.batchSize * served.columns, this.#options.batchSize);
    const { values, out } = queue.buffers;
    const rows = copyValues(slices, served.columns, values);
    const withdrawn = new AbortController();
    const running = new Running(slices, () => {
      withdrawn.abort();
      return undefined;
    });
    queue.isBusy = true;
    const score = async () => {
      await served.runtime.score(values, rows, out, withdrawn.signal);
      return undefined;
    };
    void this.#settle(queue, slices, running, score(), out).finally(() => {
      running.end();
      values.fill(0, 0, rows * served.columns);
      queue.isBusy = false;
      this.pump();
    });
  }

  /** Waits for a batch that is scored elsewhere and answers each of its slices apart. */
  async #settle(
    queue: ModelQueue,
    slices: readonly Slice[],
    running: RunningBatch,
    scoring: Promise<Milliseconds | undefined>,
    out: PoolSeat['out'],
  ): Promise<void> {
    const { clock } = this.#options;
    const began = clock.monotonic();
    for (const slice of slices) {
      slice.began = began;
      slice.running = running;
    }
    let failure: { readonly error: unknown } | undefined;
    let usual: Milliseconds | undefined;
    try {
      usual = await scoring;
    } catch (error) {
      failure = { error };
    }
    const took = clock.monotonic() - began;
    let at = 0;
    for (const slice of slices) {
      slice.running = undefined;
      if (failure === undefined) at = giveResults(slice, out, at, took);
      else if (!slice.isGone) this.#failed(queue, slice, slices.length, took, failure.error);
    }
    if (failure === undefined) this.#observe(queue, at, usual ?? took);
  }

  /** Lost with its thread, it is tried once more; failed with others, it is tried alone: it need not be its fault. */
  #failed(queue: ModelQueue, slice: Slice, together: number, took: Milliseconds, error: unknown): void {
    const isLost = error instanceof GuardianError && error.code === 'inference.worker-lost';
    if (isLost ? slice.attempts < MAX_ATTEMPTS : together > 1) {
      slice.isAlone = true;
      this.#queue(queue.served).batcher.push(slice);
    } else slice.owner.failed(slice, took, error);
  }

  #take({ batcher }: ModelQueue, now: Milliseconds): Slice[] {
    const { batch, late } = batcher.take(now, this.#options.isThrottled());
    for (const slice of late) slice.owner.late(slice);
    for (const slice of batch) slice.attempts++;
    return batch;
  }

  /** Nobody waits for what the thread scores: where it does not end, it hangs. */
  #watch(seat: PoolSeat): NodeJS.Timeout {
    return setTimeout(() => this.#options.pool?.end(seat), HANG_MS).unref();
  }

  #observe({ served, cost }: ModelQueue, rows: number, took: Milliseconds): void {
    cost.observe(rows, took);
    this.#options.onBatch?.(served, rows, took);
  }
}

/** Counts who still waits for a batch. */
class Running implements RunningBatch {
  readonly #whenAlone: () => NodeJS.Timeout | undefined;
  #left: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(slices: readonly Slice[], whenAlone: () => NodeJS.Timeout | undefined) {
    this.#left = slices.length;
    this.#whenAlone = whenAlone;
  }

  abandoned(): void {
    if (--this.#left === 0) this.#timer = this.#whenAlone();
  }

  end(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }
}

/** Of a batch: the latest deadline, and live where any of it is. */
function termsOf(slices: readonly Slice[]): BatchTerms {
  let deadline = 0;
  let priority: BatchTerms['priority'] = 'batch';
  for (const slice of slices) {
    deadline = Math.max(deadline, slice.deadline);
    if (slice.priority === 'live') priority = 'live';
  }
  return { deadline, priority };
}
