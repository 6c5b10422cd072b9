import type { Milliseconds } from '../../base/index.ts';
import { LaneShare } from '../admission/lanes.ts';
import type { Priority } from '../admission/refusal.ts';
import { DeadlineQueue, type Due } from './deadline-queue.ts';

/** Rows of one request that are scored together. */
export interface Batchable extends Due {
  readonly rows: number;
  readonly priority: Priority;
  /** When it came here; monotonic. */
  readonly arrived: Milliseconds;
  /** Nobody waits for it any longer: it is passed over. */
  readonly isGone: boolean;
  /** It goes alone: a batch that it was a part of failed. */
  readonly isAlone?: boolean;
}

export interface DeadlineBatcherOptions {
  readonly maxRows: number;
  /** How long a batch may wait for more rows while a worker is free; 0 to begin at once. */
  readonly waitMs: Milliseconds;
  /** d(n): what a batch of so many rows takes, nearly always. */
  readonly cost: (rows: number) => Milliseconds;
}

/** What was taken: `batch` is to be scored now, `late` cannot be answered any longer. */
export interface Taken<T> {
  readonly batch: T[];
  readonly late: T[];
}

/** Kept for what is not measured: timers, the way back. */
const SLACK: Milliseconds = 2;

/**
 * Joins the rows of many callers for one model into batches: earliest deadline first, live before batch work by nine rows to one.
 * A batch is due when it is full, when its first deadline leaves no more time than scoring takes, or when it has waited long
 * enough. Knows no timer: whoever has a free worker asks `dueAt` and takes.
 */
export class DeadlineBatcher<T extends Batchable> {
  readonly #options: DeadlineBatcherOptions;
  readonly #lanes: Readonly<Record<Priority, DeadlineQueue<T>>> = {
    live: new DeadlineQueue<T>(),
    batch: new DeadlineQueue<T>(),
  };
  readonly #share = new LaneShare();
  #rows = 0;
  #oldest: Milliseconds = Number.POSITIVE_INFINITY;

  constructor(options: DeadlineBatcherOptions) {
    this.#options = options;
  }

  /** Rows that wait, those that are gone and were not met yet included. */
  get rows(): number {
    return this.#rows;
  }

  /** Of what waits; infinite where nothing does. */
  get earliestDeadline(): Milliseconds {
    const live = this.#first('live')?.deadline ?? Number.POSITIVE_INFINITY;
    return Math.min(live, this.#first('batch')?.deadline ?? Number.POSITIVE_INFINITY);
  }

  get isEmpty(): boolean {
    return this.earliestDeadline === Number.POSITIVE_INFINITY;
  }

  push(item: T): void {
    this.#lanes[item.priority].push(item);
    this.#rows += item.rows;
    this.#oldest = Math.min(this.#oldest, item.arrived);
  }

  /** When the next batch is due where a worker is free; infinite where nothing waits. */
  dueAt(): Milliseconds {
    const { maxRows, waitMs, cost } = this.#options;
    const deadline = this.earliestDeadline;
    if (deadline === Number.POSITIVE_INFINITY) return deadline;
    if (waitMs === 0 || this.#rows >= maxRows) return Number.NEGATIVE_INFINITY;
    return Math.min(this.#oldest + waitMs, deadline - cost(this.#rows) - SLACK);
  }

  /** The next batch, at most `maxRows` (all but what goes alone). `isThrottled` keeps batch work behind all live work. */
  take(now: Milliseconds, isThrottled = false): Taken<T> {
    const taken: Taken<T> = { batch: [], late: [] };
    let rows = 0;
    for (;;) {
      const live = this.#first('live');
      const batch = this.#first('batch');
      const lane = this.#share.next(live !== undefined, batch !== undefined, isThrottled);
      const item = lane === 'live' ? live : batch;
      if (item === undefined) break;
      if (item.deadline < now) {
        taken.late.push(this.#pop(lane) as T);
        continue;
      }
      if (rows > 0 && (item.isAlone === true || rows + item.rows > this.#options.maxRows)) break;
      this.#share.took(lane, item.rows, (lane === 'live' ? batch : live) !== undefined);
      taken.batch.push(this.#pop(lane) as T);
      rows += item.rows;
      if (item.isAlone === true) break;
    }
    this.#oldest = this.isEmpty ? Number.POSITIVE_INFINITY : now;
    return taken;
  }

  #first(lane: Priority): T | undefined {
    while (this.#lanes[lane].peek()?.isGone) this.#pop(lane);
    return this.#lanes[lane].peek();
  }

  #pop(lane: Priority): T | undefined {
    const item = this.#lanes[lane].pop();
    if (item !== undefined) this.#rows -= item.rows;
    return item;
  }
}
