import { FIRST_SLOTS } from './clock-table.ts';
import type { SketchPool } from './sketch-pool.ts';
import { BUCKETS, EXACT_VALUES, LONG_BUCKETS, SET_BACK_FLOWS, SPAN_SHIFT } from './window-buckets.ts';

/**
 * Words of a record (int32), doubles at even words: newest bucket, flows in a row from before the long window, state of
 * both sets; 4 buckets of flows, failures and bytes; 4 spans of flows, failures, bytes out and in; then the sets.
 */
const SETS = 2;
const SHORT = 4;
const SHORT_WORDS = 4;
const LONG = SHORT + BUCKETS * SHORT_WORDS;
const LONG_WORDS = 6;
const VALUES = LONG + BUCKETS * LONG_WORDS;
const SET_WORDS = 2 * EXACT_VALUES;

/** A set that has become a sketch: this, and the sketch's number. */
const IS_SKETCH = 0x40000000;
/** Larger than any flow: what is above is no count of bytes. */
const MOST_BYTES = 1e15;

/**
 * The windows of the keys of one kind, one record a slot, up to date after each flow in a time that does not depend on
 * how many flows they hold: flows, failures and bytes by buckets of start time, and up to two sets of distinct values.
 *
 * A flow counts in the bucket of its start. Where that is older than the short window it counts in the oldest bucket
 * of that: late flows count when they are told of. A start later than all before moves the windows on. 16 flows in a
 * row from before all of the long window say that the clock was set back, and the key begins anew.
 *
 * A set holds up to 16 values and the bucket each was last in, and is exact; the 17th makes it a sketch until the key
 * was silent for a long window. Where no sketch is left it stays full, and values beyond the 16 are not counted.
 */
export class WindowRecords {
  #words: Int32Array;
  #doubles: Float64Array;
  readonly #stride: number;
  readonly #sets: number;
  readonly #sketches: SketchPool;
  /** Of the record in hand: where it begins, its newest bucket, and the bucket that the flow counts in. */
  #at = 0;
  #head = 0;
  #bucket = 0;

  constructor(sets: 1 | 2, sketches: SketchPool) {
    this.#stride = Math.ceil((VALUES + sets * SET_WORDS) / 16) * 16;
    const memory = new ArrayBuffer(FIRST_SLOTS * this.#stride * 4);
    this.#words = new Int32Array(memory);
    this.#doubles = new Float64Array(memory);
    this.#sets = sets;
    this.#sketches = sketches;
  }

  /** Takes a slot's record in hand, a fresh one where the key is new, and counts a flow in it. */
  count(slot: number, isNew: boolean, start: number, failed: number, bytes: Float64Array): void {
    const at = slot * this.#stride;
    if (at >= this.#words.length) this.#grow();
    const words = this.#words;
    this.#at = at;
    let bucket = start;
    if (isNew) this.#clear(at, bucket);
    else {
      const head = words[at] as number;
      if (bucket > head) {
        this.#advance(at, head, bucket);
        words[at + 1] = 0;
      } else if (bucket <= head - LONG_BUCKETS) {
        const run = (words[at + 1] as number) + 1;
        words[at + 1] = run;
        if (run >= SET_BACK_FLOWS) this.#clear(at, bucket);
        else bucket = head - BUCKETS + 1;
      } else {
        words[at + 1] = 0;
        if (bucket <= head - BUCKETS) bucket = head - BUCKETS + 1;
      }
    }
    this.#head = words[at] as number;
    this.#bucket = bucket;
    const doubles = this.#doubles;
    const s = at + SHORT + (bucket & (BUCKETS - 1)) * SHORT_WORDS;
    const l = at + LONG + ((bucket >>> SPAN_SHIFT) & (BUCKETS - 1)) * LONG_WORDS;
    words[s] = (words[s] as number) + 1;
    words[l] = (words[l] as number) + 1;
    if (failed !== 0) {
      words[s + 1] = (words[s + 1] as number) + 1;
      words[l + 1] = (words[l + 1] as number) + 1;
    }
    const sd = (s >> 1) + 1;
    const ld = (l >> 1) + 1;
    const outBytes = bytes[0] as number;
    const inBytes = bytes[1] as number;
    if (outBytes > 0 && outBytes <= MOST_BYTES) {
      doubles[sd] = (doubles[sd] as number) + outBytes;
      doubles[ld] = (doubles[ld] as number) + outBytes;
    }
    if (inBytes > 0 && inBytes <= MOST_BYTES) {
      doubles[sd] = (doubles[sd] as number) + inBytes;
      doubles[ld + 1] = (doubles[ld + 1] as number) + inBytes;
    }
  }

  /** Writes flows, share of failures and bytes of the short window of the record in hand. */
  writeShort(cells: Float64Array, at: number, stride: number): void {
    const words = this.#words;
    const doubles = this.#doubles;
    const s = this.#at + SHORT;
    const d = (s >> 1) + 1;
    const flows =
      (words[s] as number) + (words[s + 4] as number) + (words[s + 8] as number) + (words[s + 12] as number);
    const failed =
      (words[s + 1] as number) +
      (words[s + 5] as number) +
      (words[s + 9] as number) +
      (words[s + 13] as number);
    cells[at] = flows;
    cells[at + stride] = failed / flows;
    cells[at + 2 * stride] =
      (doubles[d] as number) +
      (doubles[d + 2] as number) +
      (doubles[d + 4] as number) +
      (doubles[d + 6] as number);
  }

  /** Writes flows, share of failures, bytes out and bytes in of the long window of the record in hand. */
  writeLong(cells: Float64Array, at: number, stride: number): void {
    const words = this.#words;
    const doubles = this.#doubles;
    const l = this.#at + LONG;
    const d = (l >> 1) + 1;
    const flows =
      (words[l] as number) + (words[l + 6] as number) + (words[l + 12] as number) + (words[l + 18] as number);
    const failed =
      (words[l + 1] as number) +
      (words[l + 7] as number) +
      (words[l + 13] as number) +
      (words[l + 19] as number);
    cells[at] = flows;
    cells[at + stride] = failed / flows;
    cells[at + 2 * stride] =
      (doubles[d] as number) +
      (doubles[d + 3] as number) +
      (doubles[d + 6] as number) +
      (doubles[d + 9] as number);
    cells[at + 3 * stride] =
      (doubles[d + 1] as number) +
      (doubles[d + 4] as number) +
      (doubles[d + 7] as number) +
      (doubles[d + 10] as number);
  }

  /**
   * Adds a value, by a hash that tells values apart, to one of the sets of the record in hand, and writes how many
   * distinct ones the short window holds, to `cells[short]`, and the long one, to `cells[long]`.
   */
  addDistinct(set: number, value: number, cells: Float64Array, short: number, long: number): void {
    const words = this.#words;
    const state = this.#at + SETS + set;
    const held = words[state] as number;
    if (held >= IS_SKETCH) {
      const sketch = held - IS_SKETCH;
      this.#sketches.add(sketch, value, this.#bucket, true);
      this.#sketches.writeEstimates(sketch, cells, short, long);
      return;
    }
    const values = this.#at + VALUES + set * SET_WORDS;
    const bucket = this.#bucket;
    const oldest = this.#head - BUCKETS;
    const oldestSpan = (this.#head >>> SPAN_SHIFT) - BUCKETS;
    let count = held;
    let inShort = 0;
    let found = false;
    for (let i = 0; i < count; ) {
      const at = values + 2 * i;
      let last = words[at + 1] as number;
      if (words[at] === value) {
        found = true;
        if (last < bucket) {
          last = bucket;
          words[at + 1] = bucket;
        }
      } else if (last >>> SPAN_SHIFT <= oldestSpan) {
        // Fell out of the long window: the last value takes its place.
        count--;
        words[at] = words[values + 2 * count] as number;
        words[at + 1] = words[values + 2 * count + 1] as number;
        continue;
      }
      if (last > oldest) inShort++;
      i++;
    }
    if (!found) {
      if (count === EXACT_VALUES) {
        if (this.#becomeSketch(state, values, oldest)) {
          this.addDistinct(set, value, cells, short, long);
          return;
        }
      } else {
        words[values + 2 * count] = value;
        words[values + 2 * count + 1] = bucket;
        count++;
        inShort++;
      }
    }
    words[state] = count;
    cells[short] = inShort;
    cells[long] = count;
  }

  /** Slots are given in order, so one doubling is enough. */
  #grow(): void {
    const words = new Int32Array(2 * this.#words.length);
    words.set(this.#words);
    this.#words = words;
    this.#doubles = new Float64Array(words.buffer);
  }

  /** Forgets the record of a slot. */
  #clear(at: number, bucket: number): void {
    const words = this.#words;
    for (let set = 0; set < this.#sets; set++) this.#emptySet(at + SETS + set);
    words[at] = bucket;
    words[at + 1] = 0;
    for (let word = at + SHORT; word < at + VALUES; word++) words[word] = 0;
  }

  #advance(at: number, from: number, to: number): void {
    const words = this.#words;
    words[at] = to;
    const steps = Math.min(BUCKETS, to - from);
    for (let step = 1; step <= steps; step++) {
      const s = at + SHORT + ((from + step) & (BUCKETS - 1)) * SHORT_WORDS;
      for (let word = 0; word < SHORT_WORDS; word++) words[s + word] = 0;
    }
    const fromSpan = from >>> SPAN_SHIFT;
    const spans = Math.min(BUCKETS, (to >>> SPAN_SHIFT) - fromSpan);
    for (let step = 1; step <= spans; step++) {
      const l = at + LONG + ((fromSpan + step) & (BUCKETS - 1)) * LONG_WORDS;
      for (let word = 0; word < LONG_WORDS; word++) words[l + word] = 0;
    }
    for (let set = 0; set < this.#sets; set++) {
      const state = at + SETS + set;
      const held = words[state] as number;
      if (spans === BUCKETS) this.#emptySet(state);
      else if (held >= IS_SKETCH) this.#sketches.advance(held - IS_SKETCH, from, to);
    }
  }

  #emptySet(state: number): void {
    const held = this.#words[state] as number;
    if (held >= IS_SKETCH) this.#sketches.release(held - IS_SKETCH);
    this.#words[state] = 0;
  }

  /** Moves the values of a full set into a sketch; returns whether there was one. */
  #becomeSketch(state: number, values: number, oldest: number): boolean {
    const sketch = this.#sketches.acquire();
    if (sketch === -1) return false;
    const words = this.#words;
    for (let at = values; at < values + SET_WORDS; at += 2) {
      const last = words[at + 1] as number;
      this.#sketches.add(sketch, words[at] as number, last, last > oldest);
    }
    words[state] = IS_SKETCH + sketch;
    return true;
  }
}
