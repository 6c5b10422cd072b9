import { newIndexSeed, WordIndex } from './word-index.ts';

/**
 * Gives each live key of five words a slot, a small whole number. A key lives while it is held: each `acquire` is
 * undone by one `release`, and the last one frees the slot. All storage is made at construction.
 */
export class KeyTable {
  readonly #index: WordIndex;
  readonly #held: Int32Array;
  readonly #newest: Int32Array;
  /** Slots that were freed, a stack; those never used begin at `#fresh`, so that no page is touched before its time. */
  readonly #free: Int32Array;
  #freeCount = 0;
  #fresh = 0;

  constructor(capacity: number) {
    this.#index = new WordIndex(capacity, newIndexSeed());
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
