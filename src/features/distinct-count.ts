/**
 * Counts distinct whole numbers of one window: an open-addressing table that is emptied in constant time, by a
 * new stamp. Made for at most `limit` numbers between two resets.
 */
export class DistinctCount {
  count = 0;
  readonly #mask: number;
  readonly #values: Int32Array;
  readonly #stamps: Uint32Array;
  #stamp = 0;

  constructor(limit: number) {
    const size = 2 ** Math.ceil(Math.log2(limit * 3));
    this.#mask = size - 1;
    this.#values = new Int32Array(size);
    this.#stamps = new Uint32Array(size);
  }

  reset(): void {
    this.count = 0;
    if (this.#stamp === 0xffffffff) {
      this.#stamps.fill(0);
      this.#stamp = 0;
    }
    this.#stamp++;
  }

  add(value: number): void {
    // Knuth's multiplicative hash spreads neighbouring ports and slots.
    let at = (Math.imul(value, 0x9e3779b1) >>> 7) & this.#mask;
    while (this.#stamps[at] === this.#stamp) {
      if (this.#values[at] === value) return;
      at = (at + 1) & this.#mask;
    }
    this.#stamps[at] = this.#stamp;
    this.#values[at] = value;
    this.count++;
  }
}
