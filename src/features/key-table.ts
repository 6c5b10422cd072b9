/**
 * Gives each live key a slot, a small whole number. A key lives while it is held: each `acquire` is undone by
 * one `release`, and the last one frees the slot. All storage but the map is made at construction.
 */
export class KeyTable<K extends string | number> {
  readonly #held: Int32Array;
  readonly #newest: Int32Array;
  readonly #slots = new Map<K, number>();
  readonly #keys: K[] = [];
  /** Slots that were freed, a stack; those never used begin at `#fresh`, so that no page is touched before its time. */
  readonly #free: Int32Array;
  #freeCount = 0;
  #fresh = 0;

  constructor(capacity: number) {
    this.#held = new Int32Array(capacity);
    this.#newest = new Int32Array(capacity);
    this.#free = new Int32Array(capacity);
  }

  get size(): number {
    return this.#slots.size;
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

  /** The caller never holds more than `capacity` keys at once, so a free slot exists. */
  acquire(key: K): number {
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      slot = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#fresh++;
      this.#slots.set(key, slot);
      this.#keys[slot] = key;
      this.#newest[slot] = -1;
    }
    this.#held[slot] = (this.#held[slot] as number) + 1;
    return slot;
  }

  release(slot: number): void {
    const left = (this.#held[slot] as number) - 1;
    this.#held[slot] = left;
    if (left > 0) return;
    this.#slots.delete(this.#keys[slot] as K);
    this.#free[this.#freeCount++] = slot;
  }
}
