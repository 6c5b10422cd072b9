import type { Milliseconds } from './units.ts';

/** Time is passed in, so that tests and replays decide what time it is. */
export interface Clock {
  /** Wall time, milliseconds since 1970-01-01 UTC. */
  now(): Milliseconds;
  /** Milliseconds from an arbitrary origin; never goes back. For durations. */
  monotonic(): Milliseconds;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now: Milliseconds;
  #jumped: Milliseconds = 0;

  constructor(start: Milliseconds = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): Milliseconds {
    return this.#now + this.#jumped;
  }

  monotonic(): Milliseconds {
    return this.#now;
  }

  advance(by: Milliseconds): void {
    this.#now += by;
  }

  /** The wall clock is set, ahead or back; no time passes. */
  jump(by: Milliseconds): void {
    this.#jumped += by;
  }
}
