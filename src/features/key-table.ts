/**
 * Gives each live key a slot, a small whole number. A key lives while it is held: each `acquire` is undone by
 * one `release`, and the last one frees the slot. All storage but the map is made at construction.
 */
export class KeyTable<K extends string | number> {
  /** Times each slot is held. */
  readonly held: Int32Array;
  /** Newest entry of each slot in the caller's ring; only the caller writes it. */
  readonly newest: Int32Array;
  readonly #slots = new Map<K, number>();
  readonly #keys: K[] = [];
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number) {
    this.held = new Int32Array(capacity);
    this.newest = new Int32Array(capacity).fill(-1);
    this.#free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#freeCount = capacity;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** The caller never holds more than `capacity` keys at once, so a free slot exists. */
  acquire(key: K): number {
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      slot = this.#free[--this.#freeCount] as number;
      this.#slots.set(key, slot);
      this.#keys[slot] = key;
      this.newest[slot] = -1;
    }
    this.held[slot] = (this.held[slot] as number) + 1;
    return slot;
  }

  release(slot: number): void {
    const left = (this.held[slot] as number) - 1;
    this.held[slot] = left;
    if (left > 0) return;
    this.#slots.delete(this.#keys[slot] as K);
    this.#free[this.#freeCount++] = slot;
  }
}
