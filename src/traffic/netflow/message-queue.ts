import type { Bytes } from '../../base/index.ts';
import type { ReceivedMessage } from './message-decoder.ts';

/** Messages between socket and consumer, bounded in number and bytes; what does not fit is refused. */
export class MessageQueue {
  readonly #maxMessages: number;
  readonly #maxBytes: Bytes;
  #messages: ReceivedMessage[] = [];
  #bytes: Bytes = 0;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(maxMessages: number, maxBytes: Bytes) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  /** False where the message did not fit. */
  push(message: ReceivedMessage): boolean {
    const isFull =
      this.#messages.length >= this.#maxMessages || this.#bytes + message.bytes.length > this.#maxBytes;
    if (isFull || this.#isClosed) return false;
    this.#messages.push(message);
    this.#bytes += message.bytes.length;
    this.#wake();
    return true;
  }

  /** Takes all that is there, at once where there is something, else after `waitMs` at the latest. */
  async take(waitMs: number): Promise<readonly ReceivedMessage[]> {
    if (this.#messages.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
    const taken = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    return taken;
  }

  /** Takes no more messages; what is there can still be taken. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }
}
