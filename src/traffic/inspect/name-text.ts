/** Characters kept of a name, escapes included. */
export const MAX_NAME_TEXT = 255;

/** A name that was asked for. */
export interface DnsName {
  /** Escaped, at most 255 characters, without the dot of the root. */
  readonly text: string;
  /** Characters on the wire, dots between labels included. */
  readonly length: number;
  readonly labels: number;
  /** Bits per character, dots included, in lower case. */
  readonly entropy: number;
}

const BACKSLASH = 0x5c;
const DOT = 0x2e;
const ZERO = 0x30;

/** ASCII letters are compared, counted and kept in lower case: resolvers mix the case of what they ask for. */
export function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * The text of one name from the wire at a time, by the rule of zone files (RFC 1035, section 5.1): printable ASCII as it
 * is, in lower case, every other byte as `\DDD` in decimal, the backslash as `\\`; in a DNS label (`isLabel`) a dot is
 * `\.`. So no control character and no half character can come out, and no text is longer than `MAX_NAME_TEXT`.
 * Characters are gathered as bytes: a string that grows by one at a time is a chain of strings.
 */
export class NameText {
  /** Room for the longest text and one escape more. */
  readonly #text = Buffer.alloc(MAX_NAME_TEXT + 4);
  #length = 0;

  /** Adds `bytes[start, end)`; what finds no room is left out. */
  add(bytes: Uint8Array, start: number, end: number, isLabel: boolean): void {
    const text = this.#text;
    let length = this.#length;
    for (let at = start; at < end && length < MAX_NAME_TEXT; at++) {
      const byte = lowerCase(bytes[at]!);
      if (byte === BACKSLASH || (isLabel && byte === DOT)) {
        text[length++] = BACKSLASH;
        text[length++] = byte;
      } else if (byte > 0x20 && byte < 0x7f) {
        text[length++] = byte;
      } else {
        text[length++] = BACKSLASH;
        text[length++] = ZERO + Math.floor(byte / 100);
        text[length++] = ZERO + (Math.floor(byte / 10) % 10);
        text[length++] = ZERO + (byte % 10);
      }
    }
    this.#length = length;
  }

  addDot(): void {
    if (this.#length < MAX_NAME_TEXT) this.#text[this.#length++] = DOT;
  }

  /** What was added since the last call. */
  take(): string {
    const text = this.#text.toString('latin1', 0, Math.min(this.#length, MAX_NAME_TEXT));
    this.#length = 0;
    return text;
  }
}

const whole = new NameText();

/** The text of a name in `bytes[start, end)`. */
export function escapeName(bytes: Uint8Array, start: number, end: number, isLabel: boolean): string {
  whole.add(bytes, start, end, isLabel);
  return whole.take();
}

/** Counts the bytes of one name at a time and gives their Shannon entropy. One is reused for all names. */
export class NameEntropy {
  readonly #counts = new Uint16Array(256);
  #total = 0;

  add(byte: number): void {
    this.#counts[lowerCase(byte)]!++;
    this.#total++;
  }

  /** Bits per character of what was added since the last call; 0 for nothing. */
  take(): number {
    const total = this.#total;
    let bits = 0;
    for (let byte = 0; byte < 256; byte++) {
      const count = this.#counts[byte]!;
      if (count > 0) bits -= (count / total) * Math.log2(count / total);
    }
    this.#counts.fill(0);
    this.#total = 0;
    return Math.max(0, bits);
  }
}
