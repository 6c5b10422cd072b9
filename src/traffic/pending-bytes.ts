/**
 * Bytes that were fed but not yet read: `bytes[start, end)`. Works on the caller's chunk where it can and keeps a
 * copy of a rest only in `settle`, so a chunk may be reused after it. Memory is one rest and one chunk. What was read
 * is wiped from the copy.
 */
export class PendingBytes {
  bytes = new Uint8Array(0);
  start = 0;
  end = 0;
  #own = new Uint8Array(0);

  get length(): number {
    return this.end - this.start;
  }

  append(chunk: Uint8Array<ArrayBuffer>): void {
    const rest = this.length;
    if (rest === 0) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      return;
    }
    this.#reserve(rest + chunk.length);
    this.#own.set(chunk, rest);
    this.end = rest + chunk.length;
  }

  /** Moves the unread rest into memory of its own. To be called when a chunk has been worked off. */
  settle(): void {
    const rest = this.length;
    if (this.bytes === this.#own) {
      if (this.start > 0) this.#own.copyWithin(0, this.start, this.end).fill(0, rest, this.end);
    } else {
      if (this.#own.length < rest) this.#own = new Uint8Array(Math.max(rest, 4096));
      this.#own.set(this.bytes.subarray(this.start, this.end));
      this.bytes = this.#own;
    }
    this.start = 0;
    this.end = rest;
  }

  /** Zeroes the copy and forgets what was not read. */
  wipe(): void {
    this.#own.fill(0);
    this.start = 0;
    this.end = 0;
  }

  u16(at: number, isLittle: boolean): number {
    const a = this.bytes[this.start + at]!;
    const b = this.bytes[this.start + at + 1]!;
    return isLittle ? (b << 8) | a : (a << 8) | b;
  }

  u32(at: number, isLittle: boolean): number {
    const i = this.start + at;
    const [a, b, c, d] = [this.bytes[i]!, this.bytes[i + 1]!, this.bytes[i + 2]!, this.bytes[i + 3]!];
    return (isLittle ? (d << 24) | (c << 16) | (b << 8) | a : (a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  }

  #reserve(length: number): void {
    if (this.#own.length >= length) return;
    const grown = new Uint8Array(Math.max(length, this.#own.length * 2));
    grown.set(this.#own.subarray(0, this.length));
    this.#own.fill(0);
    this.#own = grown;
    this.bytes = grown;
  }
}
