import type { Milliseconds } from '../../base/index.ts';

export interface CoDelOptions {
  readonly targetMs: Milliseconds;
  readonly intervalMs: Milliseconds;
}

export const CODEL_DEFAULTS: CoDelOptions = { targetMs: 5, intervalMs: 100 };

/** Within so many intervals after the last shedding it goes on at the rate that it had reached. */
const MEMORY_INTERVALS = 16;

/**
 * Whether what leaves a queue is to be shed: Controlled Delay, RFC 8289. A queue that stands, whose wait has not once been
 * below the target for a whole interval, sheds one, then the next after interval / sqrt(n), until a wait is below the target.
 * A burst that drains sheds nothing.
 */
export class CoDel {
  readonly #options: CoDelOptions;
  /** When the wait will have been above the target for an interval; 0 while it is not above. */
  #firstAbove: Milliseconds = 0;
  #isShedding = false;
  #next: Milliseconds = 0;
  #count = 0;
  #lastCount = 0;

  constructor(options: CoDelOptions = CODEL_DEFAULTS) {
    this.#options = options;
  }

  get isShedding(): boolean {
    return this.#isShedding;
  }

  /** For one that leaves now after so long a wait; `isLast` where nothing waits behind it. */
  sheds(waited: Milliseconds, now: Milliseconds, isLast: boolean): boolean {
    const { intervalMs } = this.#options;
    const isStanding = this.#isStanding(waited, now, isLast);
    if (this.#isShedding) {
      if (!isStanding) {
        this.#isShedding = false;
        return false;
      }
      if (now < this.#next) return false;
      this.#count++;
      this.#next += intervalMs / Math.sqrt(this.#count);
      return true;
    }
    if (!isStanding) return false;
    this.#isShedding = true;
    const since = this.#count - this.#lastCount;
    this.#count = since > 1 && now - this.#next < MEMORY_INTERVALS * intervalMs ? since : 1;
    this.#lastCount = this.#count;
    this.#next = now + intervalMs / Math.sqrt(this.#count);
    return true;
  }

  #isStanding(waited: Milliseconds, now: Milliseconds, isLast: boolean): boolean {
    const { targetMs, intervalMs } = this.#options;
    if (waited < targetMs || isLast) {
      this.#firstAbove = 0;
      return false;
    }
    if (this.#firstAbove === 0) {
      this.#firstAbove = now + intervalMs;
      return false;
    }
    return now >= this.#firstAbove;
  }
}
