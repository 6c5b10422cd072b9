import { KEY_STRIDE, newIndexSeed, OWNED, WordIndex } from '../../../src/features/word-index.ts';

/** Slots that there is room for at first. */
export const FIRST_SLOTS = 256;

/**
 * Slots for at most `capacity` keys. A key that finds no free slot takes the one of a key that was not seen for a
 * while: by second chance (F. J. Corbató, "A paging experiment with the Multics system", 1968), a hand that goes round
 * the slots, spares each key seen since its last visit, and stops at the first other. O(1) amortized, and which key
 * goes depends on the order of the keys alone, not on the hash. Storage doubles with the keys, up to `capacity`.
 */
export class ClockTable {
  /** Keys now, and keys that had to go. */
  size = 0;
  replaced = 0;
  /** Whether the last `acquire` met a key that it did not have. */
  isNew = false;
  readonly #index: WordIndex;
  readonly #capacity: number;
  /** Of the index: beside each key the number of its life, modulo 2^32, and whether it was seen. */
  #words: Int32Array;
  /** Slots that there is room for now. */
  #room: number;
  #life = 0;
  #hand = 0;

  constructor(capacity: number, seed: Uint32Array = newIndexSeed()) {
    this.#room = Math.min(capacity, FIRST_SLOTS);
    this.#index = new WordIndex(this.#room, seed);
    this.#capacity = capacity;
    this.#words = this.#index.keys;
  }

  /** The slot of a key of int32 words, which it is given where it has none; whoever had the slot before is gone. */
  acquire(a: number, b: number, c: number, d: number, e: number): number {
    let slot = this.#index.find(a, b, c, d, e);
    this.isNew = slot === -1;
    if (slot === -1) {
      slot = this.size < this.#capacity ? this.#next() : this.#replace();
      this.#index.insert(slot, a, b, c, d, e);
      this.#life = (this.#life + 1) | 0;
      this.#words[slot * KEY_STRIDE + OWNED.life] = this.#life;
    }
    this.#words[slot * KEY_STRIDE + OWNED.seen] = 1;
    return slot;
  }

  /** Tells the lives of a key apart: a key that was forgotten comes back as another one. */
  lifeOf(slot: number): number {
    return this.#words[slot * KEY_STRIDE + OWNED.life] as number;
  }

  #next(): number {
    if (this.size === this.#room) {
      this.#room = Math.min(this.#capacity, 2 * this.#room);
      this.#index.grow(this.#room);
      this.#words = this.#index.keys;
    }
    return this.size++;
  }

  #replace(): number {
    const words = this.#words;
    let hand = this.#hand;
    while (words[hand * KEY_STRIDE + OWNED.seen] === 1) {
      words[hand * KEY_STRIDE + OWNED.seen] = 0;
      hand = hand + 1 === this.#capacity ? 0 : hand + 1;
    }
    this.#hand = hand + 1 === this.#capacity ? 0 : hand + 1;
    this.#index.remove(hand);
    this.replaced++;
    return hand;
  }
}
