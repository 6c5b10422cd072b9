import type { Milliseconds } from '../../base/index.ts';

/** Time constant of the average. */
const TAU: Milliseconds = 1_000;
const SHORTEST: Milliseconds = 10;
const LONGEST: Milliseconds = 30_000;
const UNKNOWN: Milliseconds = 1_000;

/** How fast answers leave, and from that when one more may be welcome. An exponential average over about a second. */
export class DrainRate {
  #perMs = 0;
  #last: Milliseconds = Number.NEGATIVE_INFINITY;
  /** When what leaves now began to leave. */
  #since: Milliseconds = 0;

  /** Notes an answer. */
  left(now: Milliseconds): void {
    if (now - this.#last > TAU) {
      this.#since = now;
      this.#perMs = 0;
    }
    this.#perMs = this.#decayed(now) + 1 / TAU;
    this.#last = now;
  }

  /** Until so many have left, from now; 10 ms to 30 s, and 1 s where nothing has left yet. */
  timeFor(count: number, now: Milliseconds): Milliseconds {
    if (this.#perMs === 0) return UNKNOWN;
    // The average has seen no more than the time since: it is not to be taken for slow because it is young.
    const perMs = this.#decayed(now) / (1 - Math.exp(-Math.max(1, now - this.#since) / TAU));
    if (perMs < 1 / LONGEST) return LONGEST;
    return Math.max(SHORTEST, Math.min(LONGEST, Math.ceil(count / perMs)));
  }

  #decayed(now: Milliseconds): number {
    return this.#perMs * Math.exp(-Math.max(0, now - this.#last) / TAU);
  }
}
