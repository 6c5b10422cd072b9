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

  constructor(start: Milliseconds = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): Milliseconds {
    return this.#now;
  }

  monotonic(): Milliseconds {
    return this.#now;
  }

  advance(by: Milliseconds): void {
    this.#now += by;
  }
}
