/** Characters kept of a name, escapes included. */
export const MAX_NAME_TEXT = 255;

/** ASCII letters are compared, counted and kept in lower case: resolvers mix the case of what they ask for. */
export function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * The text of a name from the wire, by the rule of zone files (RFC 1035, section 5.1): printable ASCII as it is, in
 * lower case, every other byte as `\DDD` in decimal, the backslash as `\\`; in a DNS label (`isLabel`) a dot is `\.`.
 * So no control character and no half character can come out. Longer text than `MAX_NAME_TEXT` is cut by the caller.
 */
export function escapeName(bytes: Uint8Array, start: number, end: number, isLabel: boolean): string {
  let text = '';
  for (let at = start; at < end && text.length < MAX_NAME_TEXT; at++) {
    const byte = lowerCase(bytes[at]!);
    if (byte === 0x5c || (isLabel && byte === 0x2e)) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, '0')}`;
  }
  return text;
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
