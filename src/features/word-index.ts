import { getRandomValues } from 'node:crypto';
import { mixWord } from './fixed-hash.ts';

/** Words between keys: five of the key, then some for its owner, so that both are in one cache line. */
export const KEY_STRIDE = 8;
/** Words of the owner. */
export const OWNED = { life: 5, seen: 6 } as const;

/**
 * Finds slots by keys of five 32-bit words: open addressing with linear probing, at most half full, deletion by
 * shifting back. Whoever sends traffic chooses the keys, so the hash is keyed: a multilinear sum over 16-bit halves
 * with random multipliers, whose upper 17 bits are strongly universal (Lemire and Kaser, "Strongly universal
 * string hashing is fast", 2014). What is found does not depend on it. Storage is made at construction and by `grow`.
 */
export class WordIndex {
  /** Int32Array, capacity x KEY_STRIDE, by slot. */
  keys: Int32Array;
  /** Hash, then slot + 1, or 0 where the place is free; side by side, so that a probe costs one cache line. */
  #table: Int32Array;
  #shift: number;
  #mask: number;
  readonly #seed: Int32Array;
  /** Hash of the last search that found nothing. */
  #hash = 0;

  /** `seed`: 11 random words. */
  constructor(capacity: number, seed: Uint32Array) {
    const bits = bitsFor(capacity);
    this.keys = new Int32Array(capacity * KEY_STRIDE);
    this.#table = new Int32Array(2 << bits);
    this.#shift = 32 - bits;
    this.#mask = (1 << bits) - 1;
    this.#seed = Int32Array.from(seed);
  }

  /** The slot of a key, -1 where it has none; an `insert` of the same key may follow at once. */
  find(a: number, b: number, c: number, d: number, e: number): number {
    const table = this.#table;
    const keys = this.keys;
    const hash = this.#hashOf(a, b, c, d, e);
    let at = hash >>> this.#shift;
    for (;;) {
      const slot = (table[2 * at + 1] as number) - 1;
      if (slot === -1) break;
      if (table[2 * at] === hash) {
        const k = slot * KEY_STRIDE;
        if (
          keys[k] === a &&
          keys[k + 1] === b &&
          keys[k + 2] === c &&
          keys[k + 3] === d &&
          keys[k + 4] === e
        ) {
          return slot;
        }
      }
      at = (at + 1) & this.#mask;
    }
    this.#hash = hash;
    return -1;
  }

  /** Gives the key of the last search, which found nothing, a slot that has no key. */
  insert(slot: number, a: number, b: number, c: number, d: number, e: number): void {
    const { keys } = this;
    const k = slot * KEY_STRIDE;
    keys[k] = a;
    keys[k + 1] = b;
    keys[k + 2] = c;
    keys[k + 3] = d;
    keys[k + 4] = e;
    // A removal since the search may have freed an earlier place.
    let at = this.#hash >>> this.#shift;
    while ((this.#table[2 * at + 1] as number) !== 0) at = (at + 1) & this.#mask;
    this.#table[2 * at] = this.#hash;
    this.#table[2 * at + 1] = slot + 1;
  }

  /** Takes the key from a slot that has one. Keeps the last search. */
  remove(slot: number): void {
    const table = this.#table;
    const keys = this.keys;
    const mask = this.#mask;
    const k = slot * KEY_STRIDE;
    const hash = this.#hashOf(
      keys[k] as number,
      keys[k + 1] as number,
      keys[k + 2] as number,
      keys[k + 3] as number,
      keys[k + 4] as number,
    );
    let hole = hash >>> this.#shift;
    while ((table[2 * hole + 1] as number) !== slot + 1) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; (table[2 * at + 1] as number) !== 0; at = (at + 1) & mask) {
      const home = (table[2 * at] as number) >>> this.#shift;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      table[2 * hole] = table[2 * at] as number;
      table[2 * hole + 1] = table[2 * at + 1] as number;
      hole = at;
    }
    table[2 * hole + 1] = 0;
  }

  /** Makes room for more keys; `keys` is another array then. */
  grow(capacity: number): void {
    const old = this.#table;
    const keys = new Int32Array(capacity * KEY_STRIDE);
    keys.set(this.keys);
    this.keys = keys;
    const bits = bitsFor(capacity);
    const table = new Int32Array(2 << bits);
    this.#table = table;
    this.#shift = 32 - bits;
    this.#mask = (1 << bits) - 1;
    for (let from = 0; from < old.length; from += 2) {
      if (old[from + 1] === 0) continue;
      let at = (old[from] as number) >>> this.#shift;
      while (table[2 * at + 1] !== 0) at = (at + 1) & this.#mask;
      table[2 * at] = old[from] as number;
      table[2 * at + 1] = old[from + 1] as number;
    }
  }

  #hashOf(a: number, b: number, c: number, d: number, e: number): number {
    const s = this.#seed;
    let h =
      (s[0] as number) +
      Math.imul(a & 0xffff, s[1] as number) +
      Math.imul(a >>> 16, s[2] as number) +
      Math.imul(e & 0xffff, s[3] as number) +
      Math.imul(e >>> 16, s[4] as number) +
      Math.imul(b & 0xffff, s[5] as number) +
      Math.imul(b >>> 16, s[6] as number);
    // Only IPv6 addresses have these.
    if ((c | d) !== 0) {
      h +=
        Math.imul(c & 0xffff, s[7] as number) +
        Math.imul(c >>> 16, s[8] as number) +
        Math.imul(d & 0xffff, s[9] as number) +
        Math.imul(d >>> 16, s[10] as number);
    }
    return mixWord(h);
  }
}

/** Random words for a `WordIndex`. */
export function newIndexSeed(): Uint32Array {
  return getRandomValues(new Uint32Array(11));
}

/** At most half of the places are taken. */
function bitsFor(capacity: number): number {
  return Math.max(4, Math.ceil(Math.log2(capacity)) + 1);
}
