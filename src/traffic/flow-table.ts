/** Words of a record in `FlowTable.words`. */
export const WORD = {
  /** Ten words of key: two endpoints in fixed order, ports, version and protocol. */
  low: 0,
  high: 4,
  ports: 8,
  kind: 9,
  hash: 10,
  previous: 11,
  next: 12,
  list: 13,
  forwardPackets: 14,
  backwardPackets: 15,
  /** TCP flags and states; the meter's business. */
  state: 16,
  expectedAck: 17,
  icmpType: 18,
} as const;
export const WORDS = 20;

/** Numbers of a record in `FlowTable.numbers`. */
export const NUMBER = {
  firstMs: 0,
  lastMs: 1,
  startClock: 2,
  lastClock: 3,
  forwardBytes: 4,
  backwardBytes: 5,
  forwardPayload: 6,
  backwardPayload: 7,
} as const;
export const NUMBERS = 8;

const KEY_WORDS = 10;
const NONE = 0xffffffff;
const FIRST_CAPACITY = 256;

/**
 * The flows that are open: one record of 144 bytes each in two typed arrays, found by a hash table with linear
 * probing and backward-shift deletion, and linked into lists in the order they were last touched. The hash is
 * HalfSipHash-1-3 (Aumasson and Bernstein) under a random key, so that no sender can aim at one bucket; nothing the
 * table hands out depends on it. All operations are O(1), growing amortised. Slots are valid until removed.
 */
export class FlowTable {
  /** Row-major, `WORDS` a slot. Replaced when the table grows: read it anew after `insert`. */
  words = new Uint32Array(FIRST_CAPACITY * WORDS);
  /** Row-major, `NUMBERS` a slot. Replaced when the table grows. */
  numbers = new Float64Array(FIRST_CAPACITY * NUMBERS);
  /** The key to look up or insert next; the caller writes all ten words. */
  readonly key = new Uint32Array(KEY_WORDS);

  readonly #heads: Uint32Array;
  readonly #tails: Uint32Array;
  readonly #hashKey0: number;
  readonly #hashKey1: number;
  #buckets = new Int32Array(FIRST_CAPACITY * 2).fill(-1);
  #capacity = FIRST_CAPACITY;
  #used = 0;
  #free = NONE;
  #size = 0;

  /** `lists` is how many lists of flows there are; `hashKey` holds two random words. */
  constructor(lists: number, hashKey: Uint32Array) {
    this.#heads = new Uint32Array(lists).fill(NONE);
    this.#tails = new Uint32Array(lists).fill(NONE);
    this.#hashKey0 = hashKey[0] ?? 0;
    this.#hashKey1 = hashKey[1] ?? 0;
  }

  get size(): number {
    return this.#size;
  }

  /** The slot that holds `key`, or -1. `hash` comes from `hashKey()`. */
  find(hash: number): number {
    const { key, words } = this;
    const mask = this.#buckets.length - 1;
    for (let bucket = hash & mask; ; bucket = (bucket + 1) & mask) {
      const slot = this.#buckets[bucket]!;
      if (slot < 0) return -1;
      const at = slot * WORDS;
      if (words[at + WORD.hash] !== hash) continue;
      let i = KEY_WORDS - 1;
      while (i >= 0 && words[at + i] === key[i]) i--;
      if (i < 0) return slot;
    }
  }

  /** A new slot for `key`, zeroed and in no list. The caller knows that the key is not there. */
  insert(hash: number): number {
    let slot = this.#free;
    if (slot !== NONE) {
      this.#free = this.words[slot * WORDS + WORD.next]!;
    } else {
      if (this.#used === this.#capacity) this.#grow();
      slot = this.#used++;
    }
    const at = slot * WORDS;
    this.words.fill(0, at, at + WORDS);
    this.words.set(this.key, at);
    this.words[at + WORD.hash] = hash;
    this.numbers.fill(0, slot * NUMBERS, (slot + 1) * NUMBERS);
    this.#place(slot, hash);
    this.#size++;
    return slot;
  }

  /** Frees a slot that is in no list. */
  remove(slot: number): void {
    const buckets = this.#buckets;
    const mask = buckets.length - 1;
    let hole = this.words[slot * WORDS + WORD.hash]! & mask;
    while (buckets[hole] !== slot) hole = (hole + 1) & mask;
    for (let bucket = (hole + 1) & mask; ; bucket = (bucket + 1) & mask) {
      const moved = buckets[bucket]!;
      if (moved < 0) break;
      const home = this.words[moved * WORDS + WORD.hash]! & mask;
      if (((bucket - home) & mask) >= ((bucket - hole) & mask)) {
        buckets[hole] = moved;
        hole = bucket;
      }
    }
    buckets[hole] = -1;
    this.words[slot * WORDS + WORD.next] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  /** The slot of `list` that was appended longest ago, or -1. */
  oldest(list: number): number {
    const head = this.#heads[list]!;
    return head === NONE ? -1 : head;
  }

  append(slot: number, list: number): void {
    const words = this.words;
    const at = slot * WORDS;
    const tail = this.#tails[list]!;
    words[at + WORD.list] = list;
    words[at + WORD.previous] = tail;
    words[at + WORD.next] = NONE;
    if (tail === NONE) this.#heads[list] = slot;
    else words[tail * WORDS + WORD.next] = slot;
    this.#tails[list] = slot;
  }

  unlink(slot: number): void {
    const words = this.words;
    const at = slot * WORDS;
    const list = words[at + WORD.list]!;
    const previous = words[at + WORD.previous]!;
    const next = words[at + WORD.next]!;
    if (previous === NONE) this.#heads[list] = next;
    else words[previous * WORDS + WORD.next] = next;
    if (next === NONE) this.#tails[list] = previous;
    else words[next * WORDS + WORD.previous] = previous;
  }

  /** The hash of `key`, 32 bits unsigned. */
  hashKey(): number {
    const { key } = this;
    let v0 = this.#hashKey0 | 0;
    let v1 = this.#hashKey1 | 0;
    let v2 = 0x6c796765 ^ v0;
    let v3 = 0x74656462 ^ v1;
    // The words that are always 0 for IPv4 (1-3 and 5-7) add nothing: the kind word tells the versions apart.
    const step = key[WORD.kind]! >>> 8 === 4 ? 4 : 1;
    for (let i = 0; i < KEY_WORDS + 3; i = i < 8 ? i + step : i + 1) {
      const m = i < KEY_WORDS ? key[i]! | 0 : 0;
      if (i < KEY_WORDS) v3 ^= m;
      else if (i === KEY_WORDS) v2 ^= 0xff;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= m;
    }
    return (v1 ^ v3) >>> 0;
  }

  #place(slot: number, hash: number): void {
    const mask = this.#buckets.length - 1;
    let bucket = hash & mask;
    while (this.#buckets[bucket]! >= 0) bucket = (bucket + 1) & mask;
    this.#buckets[bucket] = slot;
  }

  #grow(): void {
    this.#capacity *= 2;
    const words = new Uint32Array(this.#capacity * WORDS);
    words.set(this.words);
    this.words = words;
    const numbers = new Float64Array(this.#capacity * NUMBERS);
    numbers.set(this.numbers);
    this.numbers = numbers;
    this.#buckets = new Int32Array(this.#capacity * 2).fill(-1);
    // Growth happens only when every slot is in use.
    for (let slot = 0; slot < this.#used; slot++) this.#place(slot, words[slot * WORDS + WORD.hash]!);
  }
}
