import { ENCODING, SLOTS, TEXT_SLOTS, VARIABLE_LENGTH } from './information-elements.ts';
import type { Template } from './template.ts';

/** Longest text that is kept of a field. */
const MAX_TEXT = 255;
/** Seconds from 1900 (NTP) to 1970. */
const NTP_TO_UNIX = 2_208_988_800;

/** The values of one record, filled anew for each. */
export class RecordValues {
  /** float64, one for each of `SLOTS`; NaN where the record has none. */
  readonly numbers = new Float64Array(SLOTS.length).fill(Number.NaN);
  /** Four words each, most significant first; IPv4 uses the first. */
  readonly source = new Uint32Array(4);
  readonly destination = new Uint32Array(4);
  /** 4 or 6, 0 where the record has no address. */
  sourceVersion = 0;
  destinationVersion = 0;
  /** One for each of `TEXT_SLOTS`. */
  readonly texts: (string | undefined)[] = TEXT_SLOTS.map(() => undefined);

  clear(): void {
    this.numbers.fill(Number.NaN);
    this.source.fill(0);
    this.destination.fill(0);
    this.sourceVersion = 0;
    this.destinationVersion = 0;
    this.texts.fill(undefined);
  }

  /** Reads the record at `bytes[at, end)`; returns where it ends, or -1 where it is cut. */
  read(template: Template, bytes: Uint8Array, at: number, end: number): number {
    this.clear();
    if (template.fixed !== undefined) {
      if (end - at < template.minLength) return -1;
      for (const { slot, encoding, offset, length } of template.fixed) {
        this.set(slot, encoding, bytes, at + offset, length);
      }
      return at + template.minLength;
    }
    let from = at;
    for (const { element, length: announced } of template.fields) {
      let length = announced;
      if (announced === VARIABLE_LENGTH) {
        if (from >= end) return -1;
        length = bytes[from++]!;
        if (length === 255) {
          if (end - from < 2) return -1;
          length = (bytes[from]! << 8) | bytes[from + 1]!;
          from += 2;
        }
      }
      if (end - from < length) return -1;
      if (element !== undefined) this.set(element.slot, element.encoding, bytes, from, length);
      from += length;
    }
    return from;
  }

  /** Puts one field into its place. */
  set(slot: number, encoding: number, bytes: Uint8Array, at: number, length: number): void {
    if (encoding === ENCODING.text) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(length, MAX_TEXT)).toString(
        'latin1',
      );
      const zero = text.indexOf('\0');
      this.texts[slot] = zero < 0 ? text : text.slice(0, zero);
      return;
    }
    if (encoding === ENCODING.sourceAddress) {
      this.sourceVersion = readAddress(this.source, this.sourceVersion, bytes, at, length);
      return;
    }
    if (encoding === ENCODING.destinationAddress) {
      this.destinationVersion = readAddress(this.destination, this.destinationVersion, bytes, at, length);
      return;
    }
    let value = 0;
    if (encoding === ENCODING.ntp) {
      value =
        (readUnsigned(bytes, at, 4) - NTP_TO_UNIX) * 1000 + readUnsigned(bytes, at + 4, 4) / 4_294_967.296;
    } else {
      value = readUnsigned(bytes, at, length);
      if (encoding === ENCODING.seconds) value *= 1000;
      else if (encoding === ENCODING.microseconds) value /= 1000;
    }
    this.numbers[slot] = value;
  }
}

/** An unsigned number of `length` bytes in network order; beyond 2^53 it is rounded. */
export function readUnsigned(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i++) value = value * 256 + bytes[i]!;
  return value;
}

/** Reads an address; returns its version. Where a record has both versions, the one that is not zero holds. */
function readAddress(words: Uint32Array, had: number, bytes: Uint8Array, at: number, length: number): number {
  if (had !== 0 && (words[0] !== 0 || words[1] !== 0 || words[2] !== 0 || words[3] !== 0)) return had;
  words.fill(0);
  for (let i = 0; i < length / 4; i++) words[i] = readUnsigned(bytes, at + 4 * i, 4);
  return length === 4 ? 4 : 6;
}
