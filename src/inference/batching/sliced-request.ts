import type { Clock, Milliseconds } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import type { Priority } from '../admission/refusal.ts';
import type { ColumnArrays } from '../score-columns.ts';
import type { ServedModel } from '../served-model.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Slice, SliceOwner } from './slice.ts';

/** How the scoring of a batch by one model ended. */
export interface Outcome {
  readonly state: 'done' | 'late' | 'withdrawn' | 'failed';
  /** Rows from the first on that were scored and decided without a gap. */
  readonly scored: number;
  /** Time that the model itself took. */
  readonly spent: Milliseconds;
  /** Until the first of its rows began to be scored. */
  readonly waited: Milliseconds;
  readonly error?: unknown;
}

/** What timers can wait for at most. */
const LONGEST_TIMER: Milliseconds = 2 ** 31 - 1;

/** For a timer that is to fire once a deadline has passed: at the deadline itself it is not late yet. */
export function untilAfter(deadline: Milliseconds, clock: Clock): Milliseconds {
  return Math.max(1, Math.min(LONGEST_TIMER, Math.ceil(deadline - clock.monotonic()) + 1));
}

export interface SlicedWork {
  readonly served: ServedModel;
  readonly batch: FeatureBatch;
  readonly out: ColumnArrays;
  readonly deadline: Milliseconds;
  readonly priority: Priority;
  readonly signal: AbortSignal | undefined;
  readonly confidenceThreshold: number;
}

export interface SlicedRequestOptions {
  readonly dispatcher: Pick<Dispatcher, 'submit'>;
  readonly clock: Clock;
  readonly sliceRows: number;
  /** Slices that are under way at once: more would only make others wait. */
  readonly width: number;
  /** Told how long each slice took from its submission to its answer. */
  readonly onSlice: (took: Milliseconds) => void;
}

/**
 * One request in slices: gives the next one when one is done, and ends at once where a slice fails, the deadline passes or the
 * caller goes away. What then still waits is gone, what is being scored is for nobody.
 */
export class SlicedRequest implements SliceOwner {
  readonly #work: SlicedWork;
  readonly #options: SlicedRequestOptions;
  readonly #under = new Set<Slice>();
  /** First rows of slices that were scored before an earlier one. */
  readonly #ahead = new Map<number, number>();
  #scored = 0;
  #next = 0;
  #spent: Milliseconds = 0;
  #arrived: Milliseconds = 0;
  #began: Milliseconds = Number.NaN;
  #end: ((outcome: Outcome) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(work: SlicedWork, options: SlicedRequestOptions) {
    this.#work = work;
    this.#options = options;
  }

  run(): Promise<Outcome> {
    const { signal, deadline } = this.#work;
    return new Promise((resolve) => {
      this.#end = resolve;
      this.#arrived = this.#options.clock.monotonic();
      if (signal?.aborted) return this.#finish('withdrawn');
      // No slice would ever come back.
      if (this.#work.batch.rows === 0) return this.#finish('done');
      signal?.addEventListener('abort', this.#withdraw, { once: true });
      this.#timer = setTimeout(this.#onDeadline, untilAfter(deadline, this.#options.clock));
      this.#submitNext();
    });
  }

  scored(slice: Slice, took: Milliseconds): void {
    this.#left(slice);
    this.#spent += took;
    this.#options.onSlice(this.#options.clock.monotonic() - slice.arrived);
    this.#ahead.set(slice.from, slice.rows);
    for (let rows = this.#ahead.get(this.#scored); rows !== undefined; rows = this.#ahead.get(this.#scored)) {
      this.#ahead.delete(this.#scored);
      this.#scored += rows;
    }
    if (this.#scored === this.#work.batch.rows) this.#finish('done');
    else this.#submitNext();
  }

  late(slice: Slice): void {
    this.#under.delete(slice);
    this.#finish('late');
  }

  failed(slice: Slice, took: Milliseconds, error: unknown): void {
    this.#left(slice);
    this.#spent += took;
    this.#finish('failed', error);
  }

  readonly #withdraw = (): void => this.#finish('withdrawn');
  readonly #onDeadline = (): void => {
    if (this.#options.clock.monotonic() > this.#work.deadline) this.#finish('late');
  };

  #left(slice: Slice): void {
    this.#under.delete(slice);
    if (Number.isNaN(this.#began)) this.#began = slice.began;
  }

  #submitNext(): void {
    const { served, batch, out, deadline, priority, confidenceThreshold } = this.#work;
    const { sliceRows, width, clock, dispatcher } = this.#options;
    while (this.#end !== undefined && this.#under.size < width && this.#next < batch.rows) {
      const from = this.#next;
      const rows = Math.min(sliceRows, batch.rows - from);
      this.#next += rows;
      const slice: Slice = {
        ...{ served, batch, out, deadline, priority, confidenceThreshold, from, rows },
        ...{ owner: this, arrived: clock.monotonic(), attempts: 0, began: Number.NaN },
        ...{ isGone: false, isAlone: false, running: undefined },
      };
      this.#under.add(slice);
      dispatcher.submit(slice);
    }
  }

  #finish(state: Outcome['state'], error?: unknown): void {
    const end = this.#end;
    if (end === undefined) return;
    this.#end = undefined;
    clearTimeout(this.#timer);
    this.#work.signal?.removeEventListener('abort', this.#withdraw);
    const now = this.#options.clock.monotonic();
    for (const slice of this.#under) {
      slice.isGone = true;
      const place = slice.waitsIn;
      slice.waitsIn = undefined;
      place?.withdrew(slice.rows);
      // The model's own time, though it has not come back.
      if (!Number.isNaN(slice.began) && state === 'late') this.#spent += now - slice.began;
      slice.running?.abandoned();
    }
    const waited = (Number.isNaN(this.#began) ? now : this.#began) - this.#arrived;
    end({ state, scored: this.#scored, spent: this.#spent, waited, ...(state === 'failed' && { error }) });
  }
}
