import type { Milliseconds } from '../base/index.ts';

/** The waits between two looks at what grows; the end of the looking also ends a wait. */
export class Polling {
  readonly #pollMs: Milliseconds;
  #isStopped = false;
  #wake: () => void = () => {};

  constructor(pollMs: Milliseconds) {
    this.#pollMs = pollMs;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  /** Until it is time to look again; not at all once stopped. */
  async pause(): Promise<void> {
    if (this.#isStopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#pollMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}
