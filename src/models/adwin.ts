import { ModelError } from './errors.ts';

/** Buckets of one size before the two oldest become one of the next. */
const M = 5;
/** Buckets of row r hold 2^r values: more than any stream has. */
const ROWS = 48;

export interface AdwinOptions {
  /** In (0, 1): bounds the chance, at each look, that a window of one mean is cut. */
  readonly delta: number;
  /** Values between two looks. */
  readonly lookEvery: number;
}

export const ADWIN_DEFAULTS: AdwinOptions = { delta: 0.002, lookEvery: 32 };

/**
 * A window over a stream of values in [0, 1] that forgets its old part where its mean has changed (Bifet and Gavaldà 2007,
 * "Learning from Time-Changing Data with Adaptive Windowing", ADWIN2). Old and new part of sizes n0 and n1 differ where
 *
 *   |mean0 - mean1| >= sqrt(ln(4 n / delta) / (2 m)),   1 / m = 1 / n0 + 1 / n1,   n = n0 + n1
 *
 * Their theorem 3.1 for this bound of Hoeffding's: a window of one mean is cut with probability delta at most at a look; one whose
 * parts differ by twice the bound is cut with probability 1 - delta. The sharper bound by the variance holds only about.
 * Memory O(log n), no allocation; a value costs O(1) amortized, a look O(log n).
 */
export class Adwin {
  /** Sums of buckets, row-major ROWS x (M + 1), oldest of a row first. */
  readonly #sums = new Float64Array(ROWS * (M + 1));
  readonly #counts = new Uint8Array(ROWS);
  readonly #delta: number;
  readonly #lookEvery: number;
  #rows = 0;
  #n = 0;
  #sum = 0;
  #sinceLook = 0;

  constructor(options: Partial<AdwinOptions> = {}) {
    const { delta, lookEvery } = { ...ADWIN_DEFAULTS, ...options };
    if (!(delta > 0 && delta < 1) || !Number.isInteger(lookEvery) || lookEvery < 1) {
      throw new ModelError(
        'models.argument-invalid',
        'expected delta in (0, 1) and a whole number of values',
      );
    }
    this.#delta = delta;
    this.#lookEvery = lookEvery;
  }

  /** Values in the window. */
  get size(): number {
    return this.#n;
  }

  /** Of the window; 0 where it is empty. */
  get mean(): number {
    return this.#n === 0 ? 0 : this.#sum / this.#n;
  }

  /** Adds a value in [0, 1]; whether the mean has changed and the old part was forgotten. */
  add(value: number): boolean {
    this.#push(value);
    if (++this.#sinceLook < this.#lookEvery) return false;
    this.#sinceLook = 0;
    let hasChanged = false;
    while (this.#differs()) {
      this.#forgetOldest();
      hasChanged = true;
    }
    return hasChanged;
  }

  #push(value: number): void {
    this.#n++;
    this.#sum += value;
    let carried = value;
    for (let row = 0; row < ROWS; row++) {
      const at = row * (M + 1);
      const count = this.#counts[row] as number;
      this.#sums[at + count] = carried;
      if (row >= this.#rows) this.#rows = row + 1;
      if (count < M) {
        this.#counts[row] = count + 1;
        return;
      }
      carried = (this.#sums[at] as number) + (this.#sums[at + 1] as number);
      this.#sums.copyWithin(at, at + 2, at + M + 1);
      this.#counts[row] = M - 1;
    }
  }

  /** Whether at any border of buckets old and new differ; oldest border first. */
  #differs(): boolean {
    const n = this.#n;
    const log = Math.log((4 * n) / this.#delta) / 2;
    let n0 = 0;
    let sum0 = 0;
    for (let row = this.#rows - 1; row >= 0; row--) {
      for (let b = 0; b < (this.#counts[row] as number); b++) {
        n0 += 2 ** row;
        sum0 += this.#sums[row * (M + 1) + b] as number;
        const n1 = n - n0;
        if (n1 === 0) return false;
        const gap = Math.abs(sum0 / n0 - (this.#sum - sum0) / n1);
        if (gap * gap >= log * (1 / n0 + 1 / n1)) return true;
      }
    }
    return false;
  }

  #forgetOldest(): void {
    const row = this.#rows - 1;
    const at = row * (M + 1);
    this.#n -= 2 ** row;
    this.#sum -= this.#sums[at] as number;
    this.#sums.copyWithin(at, at + 1, at + M + 1);
    this.#counts[row]! -= 1;
    while (this.#rows > 0 && this.#counts[this.#rows - 1] === 0) this.#rows--;
  }
}
