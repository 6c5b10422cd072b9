import type { Milliseconds } from '../../base/index.ts';

export interface SojournBoundOptions {
  /** What a request may have waited in a queue that stands. */
  readonly targetMs: Milliseconds;
  /** A queue stands once it has not been empty for so long. */
  readonly intervalMs: Milliseconds;
}

export const SOJOURN_DEFAULTS: SojournBoundOptions = { targetMs: 30, intervalMs: 100 };

/**
 * How long a request may have waited when its turn comes. Any time while the queue runs empty now and then, so that a burst is
 * served; a short one once it has stood for an interval, so that what is served is never late. CoDel's question with a blunter
 * answer, for clients that do not slow down when one request in a hundred is refused (Maurer, Fail at Scale, ACM Queue 13(8), 2015).
 */
export class SojournBound {
  readonly #options: SojournBoundOptions;
  #since: Milliseconds = Number.POSITIVE_INFINITY;

  constructor(options: SojournBoundOptions = SOJOURN_DEFAULTS) {
    this.#options = options;
  }

  /** Notes whether the queue ran empty by now. */
  note(isEmpty: boolean, now: Milliseconds): void {
    if (isEmpty) this.#since = Number.POSITIVE_INFINITY;
    else if (this.#since === Number.POSITIVE_INFINITY) this.#since = now;
  }

  isStanding(now: Milliseconds): boolean {
    return now - this.#since >= this.#options.intervalMs;
  }

  /** The longest wait that is still served. */
  at(now: Milliseconds): Milliseconds {
    return this.isStanding(now) ? this.#options.targetMs : Number.POSITIVE_INFINITY;
  }
}
