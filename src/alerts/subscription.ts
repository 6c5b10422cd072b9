import type { Detection } from './detection.ts';

/**
 * A subscriber's own bounded buffer. One that reads too slowly loses the oldest states, counted, and holds up
 * nobody; the store still has them. Ends when either side closes it. For one reader.
 */
export class Subscription implements AsyncIterableIterator<Detection> {
  readonly #capacity: number;
  readonly #onClose: (self: Subscription) => void;
  readonly #buffer: Detection[] = [];
  #wake: (() => void) | undefined;
  #dropped = 0;
  #isClosed = false;

  constructor(capacity: number, onClose: (self: Subscription) => void) {
    this.#capacity = capacity;
    this.#onClose = onClose;
  }

  /** States this subscriber has lost. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Called by the store. */
  push(detection: Detection): void {
    if (this.#isClosed) return;
    if (this.#buffer.length >= this.#capacity) {
      this.#buffer.shift();
      this.#dropped++;
    }
    this.#buffer.push(detection);
    this.#wake?.();
  }

  /** Ends the stream after what is buffered. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose(this);
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<Detection, undefined>> {
    while (this.#buffer.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const value = this.#buffer.shift();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  async return(): Promise<IteratorResult<Detection, undefined>> {
    this.close();
    this.#buffer.length = 0;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
