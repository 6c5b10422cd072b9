import { BUCKETS, SPAN_SHIFT } from './window-buckets.ts';

/** Registers of a sketch; the standard error of its estimate is 1.04 / sqrt(REGISTERS), 6.5 %. */
export const REGISTERS = 256;

/** Sketches that there is memory for at first. */
const FIRST_SKETCHES = 16;
const INDEX_BITS = 8;
const WORDS = REGISTERS / 32;
/** Buckets of a window, and their maximum. */
const WINDOW_PARTS = BUCKETS + 1;
const PARTS = 2 * WINDOW_PARTS;
const ALPHA = 0.7213 / (1 + 1.079 / REGISTERS);

/** 2^-r by register, and the estimate by linear counting where so many registers are zero. */
const POWERS = Float64Array.from({ length: 40 }, (_, r) => 2 ** -r);
const LINEAR = Float64Array.from({ length: REGISTERS + 1 }, (_, zeros) =>
  zeros === 0 ? Number.POSITIVE_INFINITY : REGISTERS * Math.log(REGISTERS / zeros),
);

/**
 * Estimates of distinct values over both windows of a key: HyperLogLog with linear counting below 2.5 REGISTERS
 * (Flajolet, Fusy, Gandouet and Meunier, 2007), one set of registers a bucket, and their maximum with its sum kept
 * beside them, so that an estimate costs nothing, and a bucket that falls out as much as it held. Sums of
 * powers of two are exact, so the order of values does not matter. Storage doubles with the sketches in use.
 */
export class SketchPool {
  /** Sketches in use, and times that none was left. */
  used = 0;
  refused = 0;
  readonly #capacity: number;
  /** Uint8Array, sketch x PARTS x REGISTERS. */
  #registers: Uint8Array;
  /** Int32Array, sketch x (PARTS - 2) x WORDS: a bit for each register of a bucket that is not zero. */
  #touched: Int32Array;
  /** Sum of 2^-register and number of zeros, of both maxima: 4 a sketch. */
  #sums: Float64Array;
  readonly #free: Int32Array;
  /** Sketches that there is memory for now. */
  #room: number;
  #freeCount = 0;
  #fresh = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#room = Math.min(capacity, FIRST_SKETCHES);
    this.#registers = new Uint8Array(this.#room * PARTS * REGISTERS);
    this.#touched = new Int32Array(this.#room * 2 * BUCKETS * WORDS);
    this.#sums = new Float64Array(this.#room * 4);
    this.#free = new Int32Array(capacity);
  }

  /** An empty sketch, or -1 where all are in use. */
  acquire(): number {
    if (this.#freeCount === 0 && this.#fresh === this.#capacity) {
      this.refused++;
      return -1;
    }
    if (this.#freeCount === 0 && this.#fresh === this.#room) this.#grow();
    const sketch = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#fresh++;
    this.used++;
    const at = sketch * PARTS * REGISTERS;
    this.#registers.fill(0, at, at + PARTS * REGISTERS);
    this.#touched.fill(0, sketch * 2 * BUCKETS * WORDS, (sketch + 1) * 2 * BUCKETS * WORDS);
    this.#sums.fill(REGISTERS, 4 * sketch, 4 * sketch + 4);
    return sketch;
  }

  release(sketch: number): void {
    this.used--;
    this.#free[this.#freeCount++] = sketch;
  }

  /** Adds a value, by its hash, to a bucket that both windows still hold, or to the long one alone. */
  add(sketch: number, hash: number, bucket: number, inShort: boolean): void {
    const register = hash >>> (32 - INDEX_BITS);
    const rank = Math.clz32((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))) + 1;
    if (inShort) this.#raise(sketch, 0, bucket & (BUCKETS - 1), register, rank);
    this.#raise(sketch, 1, (bucket >>> SPAN_SHIFT) & (BUCKETS - 1), register, rank);
  }

  /** Empties the buckets that the key leaves behind on its way from bucket `from` to the later bucket `to`. */
  advance(sketch: number, from: number, to: number): void {
    this.#leave(sketch, 0, from, to);
    this.#leave(sketch, 1, from >>> SPAN_SHIFT, to >>> SPAN_SHIFT);
  }

  /** Writes the estimates of both windows to `cells[short]` and `cells[long]`. */
  writeEstimates(sketch: number, cells: Float64Array, short: number, long: number): void {
    for (let window = 0; window < 2; window++) {
      const sums = 4 * sketch + 2 * window;
      const raw = (ALPHA * REGISTERS * REGISTERS) / (this.#sums[sums] as number);
      const zeros = this.#sums[sums + 1] as number;
      cells[window === 0 ? short : long] =
        raw <= 2.5 * REGISTERS && zeros > 0 ? (LINEAR[zeros] as number) : raw;
    }
  }

  #grow(): void {
    const registers = new Uint8Array(2 * this.#registers.length);
    const touched = new Int32Array(2 * this.#touched.length);
    const sums = new Float64Array(2 * this.#sums.length);
    registers.set(this.#registers);
    touched.set(this.#touched);
    sums.set(this.#sums);
    this.#registers = registers;
    this.#touched = touched;
    this.#sums = sums;
    this.#room *= 2;
  }

  #raise(sketch: number, window: number, bucket: number, register: number, rank: number): void {
    const registers = this.#registers;
    const base = (sketch * PARTS + window * WINDOW_PARTS) * REGISTERS + register;
    const at = base + bucket * REGISTERS;
    const own = registers[at] as number;
    if (own >= rank) return;
    registers[at] = rank;
    if (own === 0) {
      const word = ((sketch * 2 + window) * BUCKETS + bucket) * WORDS + (register >>> 5);
      this.#touched[word] = (this.#touched[word] as number) | (1 << (register & 31));
    }
    const top = base + BUCKETS * REGISTERS;
    const before = registers[top] as number;
    if (before < rank) this.#setTop(top, before, rank, 4 * sketch + 2 * window);
  }

  #leave(sketch: number, window: number, from: number, to: number): void {
    const registers = this.#registers;
    const touched = this.#touched;
    const base = (sketch * PARTS + window * WINDOW_PARTS) * REGISTERS;
    const steps = Math.min(BUCKETS, to - from);
    for (let step = 1; step <= steps; step++) {
      const bucket = (from + step) & (BUCKETS - 1);
      const first = ((sketch * 2 + window) * BUCKETS + bucket) * WORDS;
      for (let word = 0; word < WORDS; word++) {
        let bits = touched[first + word] as number;
        touched[first + word] = 0;
        for (; bits !== 0; bits &= bits - 1) {
          const register = base + 32 * word + (31 - Math.clz32(bits & -bits));
          const gone = registers[register + bucket * REGISTERS] as number;
          registers[register + bucket * REGISTERS] = 0;
          const top = register + BUCKETS * REGISTERS;
          if (registers[top] !== gone) continue;
          let left = 0;
          for (let at = register; at < top; at += REGISTERS) {
            const rank = registers[at] as number;
            if (rank > left) left = rank;
          }
          if (left !== gone) this.#setTop(top, gone, left, 4 * sketch + 2 * window);
        }
      }
    }
  }

  #setTop(top: number, before: number, rank: number, sums: number): void {
    this.#registers[top] = rank;
    const held = this.#sums;
    held[sums] = (held[sums] as number) + (POWERS[rank] as number) - (POWERS[before] as number);
    if (before === 0) held[sums + 1] = (held[sums + 1] as number) - 1;
    else if (rank === 0) held[sums + 1] = (held[sums + 1] as number) + 1;
  }
}
