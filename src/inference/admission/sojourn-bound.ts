import type { Milliseconds } from '../../base/index.ts';

export interface SojournBoundOptions {
  /** What a request may have waited in a queue that stands. */
  readonly targetMs: Milliseconds;
  /** A queue stands once it has not been empty for so long. */
  readonly intervalMs: Milliseconds;
  /** So much of the time between two notes counts: who was stopped meanwhile has not been asked for too much. */
  readonly stepMs: Milliseconds;
}

export const SOJOURN_DEFAULTS: SojournBoundOptions = { targetMs: 30, intervalMs: 100, stepMs: 20 };

/**
 * How long a request may have waited when its turn comes. Any time while the queue runs empty now and then, so that a burst, or
 * what came while the process stood still, is served; a short one once the queue has stood for an interval, so that what is
 * served is never late. CoDel's question with a blunter answer, for clients that do not slow down when one request in a hundred is
 * refused (Maurer, Fail at Scale, ACM Queue 13(8), 2015).
 */
export class SojournBound {
  readonly #options: SojournBoundOptions;
  #stood: Milliseconds = 0;
  #last: Milliseconds = Number.POSITIVE_INFINITY;

  constructor(options: SojournBoundOptions = SOJOURN_DEFAULTS) {
    this.#options = options;
  }

  /** Notes whether the queue ran empty by now. */
  note(isEmpty: boolean, now: Milliseconds): void {
    if (isEmpty) this.#stood = 0;
    else this.#stood += Math.max(0, Math.min(this.#options.stepMs, now - this.#last));
    this.#last = isEmpty ? Number.POSITIVE_INFINITY : now;
  }

  get isStanding(): boolean {
    return this.#stood >= this.#options.intervalMs;
  }

  /** The longest wait that is still served. */
  get most(): Milliseconds {
    return this.isStanding ? this.#options.targetMs : Number.POSITIVE_INFINITY;
  }
}
