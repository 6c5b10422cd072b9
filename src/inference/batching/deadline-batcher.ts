import type { Milliseconds } from '../../base/index.ts';
import { LaneShare } from '../admission/lanes.ts';
import { PRIORITIES, type Priority } from '../admission/refusal.ts';
import { DeadlineQueue, type Due } from './deadline-queue.ts';

/** Rows of one request that are scored together. */
export interface Batchable extends Due {
  readonly rows: number;
  readonly priority: Priority;
  /** When it came here; monotonic. */
  readonly arrived: Milliseconds;
  /** Nobody waits for it any longer: it is passed over. */
  readonly isGone: boolean;
  /** Where it waits; told when it is gone. */
  waitsIn?: WaitingRoom | undefined;
  /** It goes alone: a batch that it was a part of failed. */
  readonly isAlone?: boolean;
}

/** Something that items wait in. */
export interface WaitingRoom {
  /** An item of so many rows is gone, and names no place any longer. */
  withdrew(rows: number): void;
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
/** So many gone items are let be. */
const MOST_GONE = 16;

/**
 * Joins the rows of many callers for one model into batches: earliest deadline first, live before batch work by nine rows to one.
 * A batch is due when it is full, when its first deadline leaves no more time than scoring takes, or when it has waited long
 * enough. Knows no timer: whoever has a free worker asks `dueAt` and takes.
 */
export class DeadlineBatcher<T extends Batchable> implements WaitingRoom {
  readonly #options: DeadlineBatcherOptions;
  readonly #lanes: Readonly<Record<Priority, DeadlineQueue<T>>> = {
    live: new DeadlineQueue<T>(),
    batch: new DeadlineQueue<T>(),
  };
  readonly #share = new LaneShare();
  #rows = 0;
  /** Items that are gone and still have a place: each keeps its whole request in memory. */
  #gone = 0;
  #oldest: Milliseconds = Number.POSITIVE_INFINITY;

  constructor(options: DeadlineBatcherOptions) {
    this.#options = options;
  }

  /** Rows that somebody waits for. */
  get rows(): number {
    return this.#rows;
  }

  /** What is held in memory: items that wait, and some that are gone. */
  get places(): number {
    return this.#lanes.live.size + this.#lanes.batch.size;
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
    item.waitsIn = this;
    this.#oldest = Math.min(this.#oldest, item.arrived);
  }

  withdrew(rows: number): void {
    this.#rows -= rows;
    this.#gone++;
    if (this.#gone < MOST_GONE || 2 * this.#gone < this.places) return;
    for (const lane of PRIORITIES)
      this.#lanes[lane].keep(({ isGone, waitsIn }) => !isGone || waitsIn !== undefined);
    this.#gone = 0;
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
    for (;;) {
      const first = this.#lanes[lane].peek();
      if (first?.isGone !== true) return first;
      this.#lanes[lane].pop();
      if (first.waitsIn === undefined) this.#gone--;
      else this.#rows -= first.rows;
    }
  }

  #pop(lane: Priority): T | undefined {
    const item = this.#lanes[lane].pop();
    if (item !== undefined) {
      this.#rows -= item.rows;
      item.waitsIn = undefined;
    }
    return item;
  }
}
