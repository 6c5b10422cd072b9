import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock, Milliseconds } from '../base/index.ts';
import { type Reading, ReadingSource } from './reading.ts';
import { type MonitorConfig, Throttle, type ThrottleState } from './throttle.ts';

export interface MonitorEvents {
  readonly reading: Reading;
  readonly throttle: ThrottleState;
}

export interface MonitorOptions {
  readonly config: MonitorConfig;
  readonly clock: Clock;
  readonly root?: string;
  readonly diskPath?: string;
}

type Listener<E extends keyof MonitorEvents> = (event: MonitorEvents[E]) => void;

/** Coarse on purpose: each sample wakes the process, and that is most of what this room costs. */
const LOOP_RESOLUTION_MS = 500;

/**
 * Takes a reading each interval and tells subscribers of it and of every change of the throttle level. Its
 * timer does not keep the process alive. `tick()` takes one reading at once; tests and hosts with a timer of
 * their own call it instead of `start()`.
 */
export class Monitor {
  readonly #config: MonitorConfig;
  readonly #source: ReadingSource;
  readonly #throttle: Throttle;
  readonly #loop: ReturnType<typeof monitorEventLoopDelay>;
  readonly #readingListeners = new Set<Listener<'reading'>>();
  readonly #throttleListeners = new Set<Listener<'throttle'>>();
  #timer: NodeJS.Timeout | undefined;
  #last: Reading | undefined;

  constructor(options: MonitorOptions) {
    const { config, ...rest } = options;
    this.#config = config;
    this.#throttle = new Throttle(config);
    this.#loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
    this.#source = new ReadingSource({ ...rest, takeLoopDelay: () => this.#takeLoopDelay() });
  }

  /** The last reading; undefined before the first. */
  get reading(): Reading | undefined {
    return this.#last;
  }

  get throttle(): ThrottleState {
    return this.#throttle.state;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#loop.enable();
    this.#timer = setInterval(() => this.tick(), this.#config.intervalMs);
    this.#timer.unref();
  }

  tick(): Reading {
    const before = this.#throttle.state.level;
    const reading = this.#source.read();
    this.#last = reading;
    const state = this.#throttle.next(reading);
    for (const listen of this.#readingListeners) listen(reading);
    if (state.level !== before) for (const listen of this.#throttleListeners) listen(state);
    return reading;
  }

  /** Calls back at each event of the kind; the returned function ends it. A listener must not throw. */
  subscribe<E extends keyof MonitorEvents>(event: E, listener: Listener<E>): () => void {
    const listeners = (event === 'reading' ? this.#readingListeners : this.#throttleListeners) as Set<
      Listener<E>
    >;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#loop.disable();
    this.#source.close();
  }

  #takeLoopDelay(): Milliseconds {
    // With no sample the histogram's maximum is 0. Each sample includes the resolution itself.
    const late = this.#loop.max / 1e6 - LOOP_RESOLUTION_MS;
    this.#loop.reset();
    return Math.max(0, late);
  }
}
