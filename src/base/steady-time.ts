import type { Clock } from './clock.ts';
import type { Milliseconds } from './units.ts';

/** A wall clock further ahead of the time that passed than this was moved, or the machine slept. */
export const JUMP_MS: Milliseconds = 60_000;

/**
 * Wall time that passes as the monotonic clock does, from when it was made. Where the wall clock jumps ahead, by a mistake or
 * to mend one, this one does not: what cannot be undone goes by it.
 */
export class SteadyTime {
  readonly #clock: Clock;
  readonly #wallAtStart: Milliseconds;
  readonly #monotonicAtStart: Milliseconds;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wallAtStart = clock.now();
    this.#monotonicAtStart = clock.monotonic();
  }

  /** The earlier of wall time and of what has passed since the start. */
  now(): Milliseconds {
    return Math.min(this.#clock.now(), this.#passed());
  }

  /** How far the wall clock is ahead of what has passed; negative where it was set back. */
  get aheadMs(): Milliseconds {
    return this.#clock.now() - this.#passed();
  }

  #passed(): Milliseconds {
    return this.#wallAtStart + (this.#clock.monotonic() - this.#monotonicAtStart);
  }
}
