import { newIndexSeed, WordIndex } from './word-index.ts';

/** Keys that the index has room for at first. */
const FIRST_KEYS = 4096;

/**
 * Gives each live key of five words a slot, a small whole number. A key lives while it is held: each `acquire` is
 * undone by one `release`, and the last one frees the slot. The index doubles with the keys.
 */
export class KeyTable {
  readonly #index: WordIndex;
  readonly #capacity: number;
  /** Keys that the index has room for now. */
  #room: number;
  readonly #held: Int32Array;
  readonly #newest: Int32Array;
  /** Slots that were freed, a stack; those never used begin at `#fresh`, so that no page is touched before its time. */
  readonly #free: Int32Array;
  #freeCount = 0;
  #fresh = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#room = Math.min(capacity, FIRST_KEYS);
    this.#index = new WordIndex(this.#room, newIndexSeed());
    this.#held = new Int32Array(capacity);
    this.#newest = new Int32Array(capacity);
    this.#free = new Int32Array(capacity);
  }

  get size(): number {
    return this.#fresh - this.#freeCount;
  }

  /** Times a slot is held. */
  heldBy(slot: number): number {
    return this.#held[slot] as number;
  }

  /** Notes the newest entry of a live slot and returns the one before, -1 where there was none. */
  exchangeNewest(slot: number, entry: number): number {
    const before = this.#newest[slot] as number;
    this.#newest[slot] = entry;
    return before;
  }

  /** Words are int32. The caller never holds more than `capacity` keys at once, so a free slot exists. */
  acquire(a: number, b = 0, c = 0, d = 0, e = 0): number {
    let slot = this.#index.find(a, b, c, d, e);
    if (slot === -1) {
      if (this.#freeCount === 0 && this.#fresh === this.#room) {
        this.#room = Math.min(this.#capacity, 2 * this.#room);
        this.#index.grow(this.#room);
      }
      slot = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#fresh++;
      this.#index.insert(slot, a, b, c, d, e);
      this.#newest[slot] = -1;
    }
    this.#held[slot] = (this.#held[slot] as number) + 1;
    return slot;
  }

  release(slot: number): void {
    const left = (this.#held[slot] as number) - 1;
    this.#held[slot] = left;
    if (left > 0) return;
    this.#index.remove(slot);
    this.#free[this.#freeCount++] = slot;
  }
}
