/** Requests that began between two turns. */
export interface Wave {
  running: number;
  ended?: () => void;
}

/**
 * Says when every request that runs now has ended, whatever begins meanwhile: then what was taken out of service before is
 * out of reach. A request costs an addition at each end.
 */
export class RequestWaves {
  #wave: Wave = { running: 0 };
  #before: Promise<unknown> = Promise.resolve();

  /** To be handed back to `leave` when the request has ended. */
  enter(): Wave {
    this.#wave.running++;
    return this.#wave;
  }

  leave(wave: Wave): void {
    if (--wave.running === 0) wave.ended?.();
  }

  /** Resolves when the requests of now and before have ended. */
  drained(): Promise<void> {
    const wave = this.#wave;
    this.#wave = { running: 0 };
    const ended = new Promise<void>((resolve) => {
      if (wave.running === 0) resolve();
      else wave.ended = resolve;
    });
    const all = Promise.all([this.#before, ended]).then(() => {});
    this.#before = all;
    return all;
  }
}
