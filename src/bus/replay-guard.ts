import type { FrameId } from './seal.ts';

/** Of each sender, so many of its newest requests are told apart; what is older counts as seen. */
const WINDOW = 1_024;
const SENDERS = 1_024;
const SALT = 16;

interface Sender {
  highest: number;
  readonly seen: Uint32Array;
}

/**
 * Knows which requests this process took already. Requests of one sender come nearly in the order of their counters, so a bit
 * for each of the newest is enough (as in IPsec, RFC 4303 section 3.4.3).
 */
export class ReplayGuard {
  /** By salt, heard last at the end. */
  readonly #senders = new Map<string, Sender>();

  /** Whether a request, known to be authentic, comes for the first time. */
  isNew(id: FrameId): boolean {
    const view = Buffer.from(id.buffer, id.byteOffset, id.length);
    const salt = view.toString('latin1', 0, SALT);
    const counter = view.readUIntBE(SALT, id.length - SALT);
    const sender = this.#senders.get(salt) ?? { highest: -1, seen: new Uint32Array(WINDOW / 32) };
    this.#senders.delete(salt);
    this.#senders.set(salt, sender);
    if (this.#senders.size > SENDERS) this.#dropOldest();
    if (counter > sender.highest) {
      const from = Math.max(sender.highest + 1, counter - WINDOW + 1);
      for (let each = from; each < counter; each++) clear(sender.seen, each);
      sender.highest = counter;
    } else if (counter <= sender.highest - WINDOW || isSet(sender.seen, counter)) return false;
    set(sender.seen, counter);
    return true;
  }

  #dropOldest(): void {
    for (const oldest of this.#senders.keys()) {
      this.#senders.delete(oldest);
      return;
    }
  }
}

function isSet(bits: Uint32Array, counter: number): boolean {
  const at = counter % WINDOW;
  return (((bits[at >>> 5] as number) >>> (at & 31)) & 1) === 1;
}

function set(bits: Uint32Array, counter: number): void {
  const at = counter % WINDOW;
  bits[at >>> 5] = (bits[at >>> 5] as number) | (1 << (at & 31));
}

function clear(bits: Uint32Array, counter: number): void {
  const at = counter % WINDOW;
  bits[at >>> 5] = (bits[at >>> 5] as number) & ~(1 << (at & 31));
}
