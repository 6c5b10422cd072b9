import { closeSync, openSync, readSync } from 'node:fs';

/** Shared by all files of the thread: a reading is synchronous, and its bytes are used before the next. */
const buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * A file of /proc or /sys that is read again and again: kept open, read from its start, at most 64 KiB.
 * The kernel makes the content anew at each read. A file that is not there reads as empty text.
 */
export class PseudoFile {
  #descriptor: number | undefined;

  constructor(path: string) {
    try {
      this.#descriptor = openSync(path, 'r');
    } catch {
      this.#descriptor = undefined;
    }
  }

  /** The first `limit` bytes as text. */
  read(limit = buffer.length): string {
    if (this.#descriptor === undefined) return '';
    try {
      return buffer.toString('latin1', 0, readSync(this.#descriptor, buffer, 0, limit, 0));
    } catch {
      return '';
    }
  }

  /** A file that holds one number, or NaN (also for `max`). */
  readNumber(): number {
    const text = this.read(64).trim();
    return text === '' ? Number.NaN : Number(text);
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
