// Windows over flows that slide by buckets: five kinds of key, a record each, and sketches of sets that grew large. The
// rules are told in src/features/sliding-windows.ts; the plain form, to the bit, is test/twins/sliding-windows.
//
// A record lies with its key in one entry, and a group of flows goes through in passes: places of the index are read,
// then the lines of the entries, and only then is anything updated, flow by flow in order. Reads of one pass do not wait
// for each other, so that their misses overlap.
//
// Memory, in bytes: what the host writes and reads lies below `TABLES_END`, as in src/features/windows-kernel.ts.

const IDENTITY: usize = 1024; // 64 rows of 12 words
const STARTS: usize = 4096; // f64[64]
const OUT_BYTES: usize = 4608; // f64[64]
const IN_BYTES: usize = 5120; // f64[64]
const SERVICES: usize = 5632; // u32[64]
const FLAGS: usize = 5888; // u32[64]: 1 failed, 2 left out
const POWERS: usize = 6144; // f64[40]: 2^-rank
const LINEAR: usize = 6464; // f64[257]: estimate by the number of registers that are zero
const TABLES: usize = 8576; // 64 bytes each
const SCRATCH: usize = 8960; // 64 bytes a row of a group
const CELLS: usize = 10240; // f64, a column of 64 rows after the other
const TABLES_END: usize = 40960;

const GROUP: u32 = 16;
const COLUMN: usize = 512;

// --- a table of keys ---
const SOURCE: usize = TABLES;
const DESTINATION: usize = TABLES + 64;
const SERVICE: usize = TABLES + 128;
const PAIR: usize = TABLES + 192;
const BOTH: usize = TABLES + 256;
const T_INDEX: usize = 0; // entry's hash and its slot + 1, 8 bytes a place; at most half full
const T_MASK: usize = 4;
const T_ENTRIES: usize = 8;
const T_STRIDE: usize = 12;
const T_CAPACITY: usize = 16;
const T_SIZE: usize = 20;
const T_HAND: usize = 24;
const T_LIFE: usize = 28;
const T_REPLACED: usize = 32;

// --- an entry: key of five words, then the record ---
const E_LIFE: usize = 20;
const E_SEEN: usize = 24;
const E_HEAD: usize = 28; // newest bucket
const E_RUN: usize = 32; // flows in a row from before the long window
const E_SETS: usize = 36; // values of both sets, or a sketch
const E_HASH: usize = 44;
const E_SHORT: usize = 48; // 4 buckets: flows, failures, bytes (f64)
const E_LONG: usize = 112; // 4 spans: flows, failures, bytes out and in (f64)
const E_VALUES: usize = 208; // 16 values and their buckets, for each set
const SET: usize = 128;
const E_INTERVALS: usize = 336; // of a pair: intervals, last start, mean, variance (f64)
const ENTRY_OF_TWO: u32 = 512;
const ENTRY_OF_ONE: u32 = 384;

// --- what was found out of a row of the group ---
const G_SOURCE: usize = 0; // hash in the table, then the entry it is probably at
const G_DESTINATION: usize = 8;
const G_SERVICE: usize = 16;
const G_PAIR: usize = 24;
const G_BOTH: usize = 32;
const G_SOURCE_VALUE: usize = 40; // what sets tell it by
const G_DESTINATION_VALUE: usize = 44;
const G_SERVICE_VALUE: usize = 48;

const BUCKETS: i32 = 4;
const SPAN_SHIFT: i32 = 3;
const LONG_BUCKETS: i32 = 32;
const SET_BACK_FLOWS: u32 = 16;
const EXACT_VALUES: u32 = 16;
const LATEST: i32 = 0x7fffff00;
const IS_SKETCH: u32 = 0x40000000;
const MOST_BYTES: f64 = 1e15;
const MEMORY: f64 = 16;
const LEAST: f64 = 3;

// --- a sketch: 5 parts of registers for each window (4 buckets and their maximum), bits of those in use, sums ---
const REGISTERS: usize = 256;
const WINDOW_PARTS: usize = 5;
const S_TOUCHED: usize = 2560;
const S_SUMS: usize = 2816; // f64: sum of 2^-register, zeros; of both windows
const SKETCH: usize = 2880;
const ALPHA: f64 = 0.7213 / (1 + 1.079 / 256);

// --- columns ---
const LONG: usize = 3 * COLUMN;
const FIRST_SET: usize = 7 * COLUMN;
const SECOND_SET: usize = 9 * COLUMN;
const OF_SOURCE: usize = CELLS;
const OF_DESTINATION: usize = CELLS + 11 * COLUMN;
const OF_SERVICE: usize = CELLS + 22 * COLUMN;
const OF_PAIR: usize = CELLS + 33 * COLUMN;
const OF_BOTH: usize = CELLS + 42 * COLUMN;
const OF_INTERVALS: usize = CELLS + 51 * COLUMN;

let bucketMs: f64 = 1;
let k0: u32 = 0;
let k1: u32 = 0;
let k2: u32 = 0;
let k3: u32 = 0;
let k4: u32 = 0;
let k5: u32 = 0;
let mix: u64 = 0;

let sketches: usize = 0;
let freeSketches: usize = 0;
let sketchCapacity: u32 = 0;
let freeCount: u32 = 0;
let fresh: u32 = 0;
let used: u32 = 0;
let refused: u32 = 0;

let isNew = false;
let touched: u32 = 0;
// --- the record in hand: where it begins, its newest bucket, the bucket that the flow counts in ---
let entry: usize = 0;
let head: i32 = 0;
let bucket: i32 = 0;

/** Lays out the memory, which is zero; returns its end. */
export function set_up(hosts: u32, services: u32, pairs: u32, both: u32, sketchesMost: u32, width: f64): usize {
  bucketMs = width;
  let at = TABLES_END;
  at = layOut(SOURCE, at, hosts, ENTRY_OF_TWO);
  at = layOut(DESTINATION, at, hosts, ENTRY_OF_TWO);
  at = layOut(SERVICE, at, services, ENTRY_OF_TWO);
  at = layOut(PAIR, at, pairs, ENTRY_OF_ONE);
  at = layOut(BOTH, at, both, ENTRY_OF_ONE);
  sketchCapacity = sketchesMost;
  freeSketches = at;
  sketches = (at + <usize>sketchesMost * 4 + 63) & ~63;
  return sketches + <usize>sketchesMost * SKETCH;
}

/** Random words; what is written does not depend on them. */
export function set_seed(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32): void {
  k0 = a;
  k1 = b;
  k2 = c;
  k3 = d;
  k4 = e;
  k5 = f;
  mix = ((<u64>g << 32) | <u64>h) | 1;
}

/** Keys that are remembered. */
export function remembered(): u32 {
  let sum: u32 = 0;
  for (let t = SOURCE; t <= BOTH; t += 64) sum += load<u32>(t, T_SIZE);
  return sum;
}

/** Keys that had to go. */
export function forgotten(): f64 {
  let sum: f64 = 0;
  for (let t = SOURCE; t <= BOTH; t += 64) sum += load<f64>(t, T_REPLACED);
  return sum;
}

export function sketches_used(): u32 {
  return used;
}

/** Values that were left out because no sketch was left. */
export function sketches_refused(): u32 {
  return refused;
}

/** Takes the first `rows` rows of the block, at most 64, and writes the cells of those that are not left out. */
export function add_rows(rows: u32): void {
  for (let from: u32 = 0; from < rows; from += GROUP) {
    const to = from + GROUP < rows ? from + GROUP : rows;
    locate(from, to);
    for (let row = from; row < to; row++) {
      if ((load<u32>(FLAGS + (<usize>row << 2)) & 2) == 0) add(row, SCRATCH + (<usize>(row - from) << 6));
    }
  }
}

function layOut(t: usize, at: usize, capacity: u32, stride: u32): usize {
  let places: u32 = 16;
  while (places < capacity * 2) places <<= 1;
  store<u32>(t, <u32>at, T_INDEX);
  store<u32>(t, places - 1, T_MASK);
  const entries = (at + (<usize>places << 3) + 63) & ~63;
  store<u32>(t, <u32>entries, T_ENTRIES);
  store<u32>(t, stride, T_STRIDE);
  store<u32>(t, capacity, T_CAPACITY);
  return entries + <usize>capacity * <usize>stride;
}

// ------------------------------------------------------------------------------------------------------------ hashes

// @ts-ignore: decorator
@inline
function mixWord(word: u32): u32 {
  let h = word;
  h = (h ^ (h >>> 16)) * 0x85ebca6b;
  h = (h ^ (h >>> 13)) * 0xc2b2ae35;
  return h ^ (h >>> 16);
}

/** As `hashAddress` of src/features/fixed-hash.ts. */
function hashAddress(at: usize, version: u32): u32 {
  const b = load<u32>(at, 4);
  const c = load<u32>(at, 8);
  const d = load<u32>(at, 12);
  const h = mixWord(load<u32>(at) ^ version);
  return (b | c | d) == 0 ? h : mixWord(mixWord(mixWord(h + b) + c) + d);
}

/**
 * Of a key in its table: the universal family NH (Black et al., UMAC, 1999) under a random key, then multiply-shift, so
 * that no sender can aim at one place of the index.
 */
// @ts-ignore: decorator
@inline
function hashKey(a: u32, b: u32, c: u32, d: u32, e: u32): u32 {
  let sum = <u64>(a + k0) * <u64>(e + k1);
  if ((b | c | d) != 0) sum += <u64>(b + k2) * <u64>(c + k3) + <u64>(d + k4) * <u64>k5;
  return <u32>((sum * mix) >>> 32);
}

// ---------------------------------------------------------------------------------------------------------- touching

/** The entry that a hash probably leads to, or 0. */
function probable(t: usize, hash: u32): usize {
  const index = <usize>load<u32>(t, T_INDEX);
  const mask = load<u32>(t, T_MASK);
  let place = hash & mask;
  while (true) {
    const at = index + (<usize>place << 3);
    const found = load<u32>(at, 4);
    if (found == 0) return 0;
    if (load<u32>(at) == hash) return <usize>load<u32>(t, T_ENTRIES) + <usize>(found - 1) * <usize>load<u32>(t, T_STRIDE);
    place = (place + 1) & mask;
  }
}

// @ts-ignore: decorator
@inline
function touchTwo(e: usize): u32 {
  return e == 0 ? 0 : load<u32>(e) + load<u32>(e, 64) + load<u32>(e, 128) + load<u32>(e, 192) + load<u32>(e, 336);
}

// @ts-ignore: decorator
@inline
function touchOne(e: usize): u32 {
  return e == 0 ? 0 : load<u32>(e) + load<u32>(e, 64) + load<u32>(e, 128) + load<u32>(e, 192) + load<u32>(e, 336);
}

/** Hashes the keys of a group and reads what its flows will need. */
function locate(from: u32, to: u32): void {
  let g = SCRATCH;
  for (let row = from; row < to; row++, g += 64) {
    const id = IDENTITY + <usize>row * 48;
    const version = (load<u32>(id, 36) >>> 8) & 255;
    const service = load<u32>(SERVICES + (<usize>row << 2));
    store<u32>(g, hashAddress(id, version), G_SOURCE_VALUE);
    store<u32>(g, hashAddress(id + 16, version), G_DESTINATION_VALUE);
    store<u32>(g, mixWord(service), G_SERVICE_VALUE);
    store<u32>(g, hashKey(load<u32>(id), load<u32>(id, 4), load<u32>(id, 8), load<u32>(id, 12), version), G_SOURCE);
    store<u32>(
      g,
      hashKey(load<u32>(id, 16), load<u32>(id, 20), load<u32>(id, 24), load<u32>(id, 28), version),
      G_DESTINATION,
    );
    store<u32>(g, hashKey(service, 0, 0, 0, 0), G_SERVICE);
  }
  const last = g;
  let sum: u32 = 0;
  for (g = SCRATCH; g < last; g += 64) {
    store<u32>(g, <u32>probable(SOURCE, load<u32>(g, G_SOURCE)), G_SOURCE + 4);
    store<u32>(g, <u32>probable(DESTINATION, load<u32>(g, G_DESTINATION)), G_DESTINATION + 4);
    store<u32>(g, <u32>probable(SERVICE, load<u32>(g, G_SERVICE)), G_SERVICE + 4);
  }
  for (g = SCRATCH; g < last; g += 64) {
    sum += touchTwo(load<u32>(g, G_SOURCE + 4));
    sum += touchTwo(load<u32>(g, G_DESTINATION + 4));
    sum += touchTwo(load<u32>(g, G_SERVICE + 4));
  }
  g = SCRATCH;
  for (let row = from; row < to; row++, g += 64) {
    const source = <usize>load<u32>(g, G_SOURCE + 4);
    const destination = <usize>load<u32>(g, G_DESTINATION + 4);
    let pair: usize = 0;
    let both: usize = 0;
    if (destination != 0) {
      const life = load<u32>(destination, E_LIFE);
      both = probable(BOTH, hashKey(life, 0, 0, 0, load<u32>(SERVICES + (<usize>row << 2))));
      if (source != 0) pair = probable(PAIR, hashKey(load<u32>(source, E_LIFE), 0, 0, 0, life));
    }
    store<u32>(g, <u32>pair, G_PAIR);
    store<u32>(g, <u32>both, G_BOTH);
  }
  for (g = SCRATCH; g < last; g += 64) sum += touchOne(load<u32>(g, G_PAIR)) + touchOne(load<u32>(g, G_BOTH));
  touched = sum;
}

// -------------------------------------------------------------------------------------------------------------- keys

// @ts-ignore: decorator
@inline
function isKey(x: usize, a: u32, b: u32, c: u32, d: u32, e: u32): bool {
  return (
    load<u32>(x) == a &&
    load<u32>(x, 16) == e &&
    load<u32>(x, 4) == b &&
    load<u32>(x, 8) == c &&
    load<u32>(x, 12) == d
  );
}

/**
 * The entry of a key, which it is given where it has none; whoever had the entry before is gone. It is looked for at
 * `probable` first: no two entries have one key.
 */
function acquire(t: usize, hash: u32, probable: usize, a: u32, b: u32, c: u32, d: u32, e: u32): usize {
  if (probable != 0 && isKey(probable, a, b, c, d, e)) {
    isNew = false;
    store<u32>(probable, 1, E_SEEN);
    return probable;
  }
  const index = <usize>load<u32>(t, T_INDEX);
  const mask = load<u32>(t, T_MASK);
  const entries = <usize>load<u32>(t, T_ENTRIES);
  const stride = <usize>load<u32>(t, T_STRIDE);
  let place = hash & mask;
  let at = index + (<usize>place << 3);
  let found = load<u32>(at, 4);
  while (found != 0) {
    if (load<u32>(at) == hash) {
      const x = entries + <usize>(found - 1) * stride;
      if (isKey(x, a, b, c, d, e)) {
        isNew = false;
        store<u32>(x, 1, E_SEEN);
        return x;
      }
    }
    place = (place + 1) & mask;
    at = index + (<usize>place << 3);
    found = load<u32>(at, 4);
  }
  isNew = true;
  let slot = load<u32>(t, T_SIZE);
  if (slot < load<u32>(t, T_CAPACITY)) {
    store<u32>(t, slot + 1, T_SIZE);
  } else {
    slot = replace(t);
    // A removal may have freed an earlier place.
    place = hash & mask;
    at = index + (<usize>place << 3);
    while (load<u32>(at, 4) != 0) {
      place = (place + 1) & mask;
      at = index + (<usize>place << 3);
    }
  }
  store<u32>(at, hash);
  store<u32>(at, slot + 1, 4);
  const x = entries + <usize>slot * stride;
  store<u32>(x, a);
  store<u32>(x, b, 4);
  store<u32>(x, c, 8);
  store<u32>(x, d, 12);
  store<u32>(x, e, 16);
  const life = load<u32>(t, T_LIFE) + 1;
  store<u32>(t, life, T_LIFE);
  store<u32>(x, life, E_LIFE);
  store<u32>(x, 1, E_SEEN);
  store<u32>(x, hash, E_HASH);
  return x;
}

/** The slot of a key that was not seen since the hand came by, taken out of the index. */
function replace(t: usize): u32 {
  const entries = <usize>load<u32>(t, T_ENTRIES);
  const stride = <usize>load<u32>(t, T_STRIDE);
  const capacity = load<u32>(t, T_CAPACITY);
  let hand = load<u32>(t, T_HAND);
  let x = entries + <usize>hand * stride;
  while (load<u32>(x, E_SEEN) == 1) {
    store<u32>(x, 0, E_SEEN);
    hand = hand + 1 == capacity ? 0 : hand + 1;
    x = entries + <usize>hand * stride;
  }
  store<u32>(t, hand + 1 == capacity ? 0 : hand + 1, T_HAND);
  const index = <usize>load<u32>(t, T_INDEX);
  const mask = load<u32>(t, T_MASK);
  let hole = load<u32>(x, E_HASH) & mask;
  while (load<u32>(index + (<usize>hole << 3), 4) != hand + 1) hole = (hole + 1) & mask;
  let place = hole;
  while (true) {
    place = (place + 1) & mask;
    const at = index + (<usize>place << 3);
    if (load<u32>(at, 4) == 0) break;
    const home = load<u32>(at) & mask;
    if (((place - home) & mask) >= ((place - hole) & mask)) {
      store<u64>(index + (<usize>hole << 3), load<u64>(at));
      hole = place;
    }
  }
  store<u64>(index + (<usize>hole << 3), 0);
  store<f64>(t, load<f64>(t, T_REPLACED) + 1, T_REPLACED);
  return hand;
}

// ----------------------------------------------------------------------------------------------------------- records

/** Takes an entry's record in hand, a fresh one where the key is new, and counts a flow in it. */
function count(x: usize, sets: u32, start: i32, failed: u32, outBytes: f64, inBytes: f64): void {
  let b = start;
  if (isNew) clear(x, sets, b);
  else {
    const newest = load<i32>(x, E_HEAD);
    if (b > newest) {
      advance(x, sets, newest, b);
      store<u32>(x, 0, E_RUN);
    } else if (b <= newest - LONG_BUCKETS) {
      const run = load<u32>(x, E_RUN) + 1;
      store<u32>(x, run, E_RUN);
      if (run >= SET_BACK_FLOWS) clear(x, sets, b);
      else b = newest - BUCKETS + 1;
    } else {
      store<u32>(x, 0, E_RUN);
      if (b <= newest - BUCKETS) b = newest - BUCKETS + 1;
    }
  }
  entry = x;
  head = load<i32>(x, E_HEAD);
  bucket = b;
  const s = x + E_SHORT + (<usize>(b & 3) << 4);
  const l = x + E_LONG + <usize>((b >>> SPAN_SHIFT) & 3) * 24;
  store<u32>(s, load<u32>(s) + 1);
  store<u32>(l, load<u32>(l) + 1);
  if (failed != 0) {
    store<u32>(s, load<u32>(s, 4) + 1, 4);
    store<u32>(l, load<u32>(l, 4) + 1, 4);
  }
  if (outBytes > 0 && outBytes <= MOST_BYTES) {
    store<f64>(s, load<f64>(s, 8) + outBytes, 8);
    store<f64>(l, load<f64>(l, 8) + outBytes, 8);
  }
  if (inBytes > 0 && inBytes <= MOST_BYTES) {
    store<f64>(s, load<f64>(s, 8) + inBytes, 8);
    store<f64>(l, load<f64>(l, 16) + inBytes, 16);
  }
}

/** Writes flows, share of failures and bytes of both windows of the record in hand. */
function writeCounts(cell: usize): void {
  const s = entry + E_SHORT;
  const flows = <f64>(load<u32>(s) + load<u32>(s, 16) + load<u32>(s, 32) + load<u32>(s, 48));
  const failed = <f64>(load<u32>(s, 4) + load<u32>(s, 20) + load<u32>(s, 36) + load<u32>(s, 52));
  store<f64>(cell, flows);
  store<f64>(cell, failed / flows, COLUMN);
  store<f64>(cell, load<f64>(s, 8) + load<f64>(s, 24) + load<f64>(s, 40) + load<f64>(s, 56), 2 * COLUMN);
  const l = entry + E_LONG;
  const all = <f64>(load<u32>(l) + load<u32>(l, 24) + load<u32>(l, 48) + load<u32>(l, 72));
  const lost = <f64>(load<u32>(l, 4) + load<u32>(l, 28) + load<u32>(l, 52) + load<u32>(l, 76));
  store<f64>(cell, all, LONG);
  store<f64>(cell, lost / all, LONG + COLUMN);
  store<f64>(cell, load<f64>(l, 8) + load<f64>(l, 32) + load<f64>(l, 56) + load<f64>(l, 80), LONG + 2 * COLUMN);
  store<f64>(cell, load<f64>(l, 16) + load<f64>(l, 40) + load<f64>(l, 64) + load<f64>(l, 88), LONG + 3 * COLUMN);
}

/** Adds a value to a set of the record in hand, and writes how many distinct ones both windows hold. */
function addDistinct(set: u32, value: u32, cell: usize): void {
  const state = entry + E_SETS + (<usize>set << 2);
  const values = entry + E_VALUES + <usize>set * SET;
  const held = load<u32>(state);
  const oldest = head - BUCKETS;
  if (held >= IS_SKETCH) {
    addToSketch(held - IS_SKETCH, value, cell);
    return;
  }
  const oldestSpan = (head >>> SPAN_SHIFT) - BUCKETS;
  let size = held;
  let inShort: u32 = 0;
  let found = false;
  for (let i: u32 = 0; i < size; ) {
    const at = values + (<usize>i << 3);
    let last = load<i32>(at, 4);
    if (load<u32>(at) == value) {
      found = true;
      if (last < bucket) {
        last = bucket;
        store<i32>(at, bucket, 4);
      }
    } else if (last >>> SPAN_SHIFT <= oldestSpan) {
      // Fell out of the long window: the last value takes its place.
      size--;
      store<u64>(at, load<u64>(values + (<usize>size << 3)));
      continue;
    }
    if (last > oldest) inShort++;
    i++;
  }
  if (!found) {
    if (size == EXACT_VALUES) {
      const sketch = becomeSketch(state, values, oldest);
      if (sketch >= 0) {
        addToSketch(sketch, value, cell);
        return;
      }
    } else {
      const at = values + (<usize>size << 3);
      store<u32>(at, value);
      store<i32>(at, bucket, 4);
      size++;
      inShort++;
    }
  }
  store<u32>(state, size);
  store<f64>(cell, <f64>inShort);
  store<f64>(cell, <f64>size, COLUMN);
}

function addToSketch(sketch: u32, value: u32, cell: usize): void {
  const k = sketches + <usize>sketch * SKETCH;
  addToBuckets(k, value, bucket, true);
  store<f64>(cell, estimate(k + S_SUMS));
  store<f64>(cell, estimate(k + S_SUMS + 16), COLUMN);
}

function clear(x: usize, sets: u32, newest: i32): void {
  for (let set: u32 = 0; set < sets; set++) emptySet(x + E_SETS + (<usize>set << 2));
  store<i32>(x, newest, E_HEAD);
  store<u32>(x, 0, E_RUN);
  memory.fill(x + E_SHORT, 0, E_VALUES - E_SHORT);
}

function advance(x: usize, sets: u32, from: i32, to: i32): void {
  store<i32>(x, to, E_HEAD);
  const steps = to - from < BUCKETS ? to - from : BUCKETS;
  for (let step = 1; step <= steps; step++) {
    const s = x + E_SHORT + (<usize>((from + step) & 3) << 4);
    store<u64>(s, 0);
    store<u64>(s, 0, 8);
  }
  const fromSpan = from >>> SPAN_SHIFT;
  const moved = (to >>> SPAN_SHIFT) - fromSpan;
  const spans = moved < BUCKETS ? moved : BUCKETS;
  for (let step = 1; step <= spans; step++) {
    const l = x + E_LONG + <usize>((fromSpan + step) & 3) * 24;
    store<u64>(l, 0);
    store<u64>(l, 0, 8);
    store<u64>(l, 0, 16);
  }
  for (let set: u32 = 0; set < sets; set++) {
    const state = x + E_SETS + (<usize>set << 2);
    const held = load<u32>(state);
    if (spans == BUCKETS) emptySet(state);
    else if (held >= IS_SKETCH) {
      const k = sketches + <usize>(held - IS_SKETCH) * SKETCH;
      leave(k, 0, from, to);
      leave(k, 1, from >>> SPAN_SHIFT, to >>> SPAN_SHIFT);
    }
  }
}

function emptySet(state: usize): void {
  const held = load<u32>(state);
  if (held >= IS_SKETCH) {
    used--;
    store<u32>(freeSketches + (<usize>freeCount << 2), held - IS_SKETCH);
    freeCount++;
  }
  store<u32>(state, 0);
}

/** Moves the values of a full set into a sketch; -1 where there was none. */
function becomeSketch(state: usize, values: usize, oldest: i32): i32 {
  let sketch: u32;
  if (freeCount > 0) sketch = load<u32>(freeSketches + (<usize>--freeCount << 2));
  else if (fresh < sketchCapacity) sketch = fresh++;
  else {
    refused++;
    return -1;
  }
  used++;
  const k = sketches + <usize>sketch * SKETCH;
  memory.fill(k, 0, S_SUMS);
  for (let i: usize = 0; i < 32; i += 8) store<f64>(k + i, 256, S_SUMS);
  for (let at = values; at < values + SET; at += 8) {
    const last = load<i32>(at, 4);
    addToBuckets(k, load<u32>(at), last, last > oldest);
  }
  store<u32>(state, IS_SKETCH + sketch);
  return <i32>sketch;
}

// ---------------------------------------------------------------------------------------------------------- sketches

/** Adds a value, by its hash, to a bucket that both windows still hold, or to the long one alone. */
function addToBuckets(k: usize, hash: u32, b: i32, inShort: bool): void {
  const register = <usize>(hash >>> 24);
  const rank = clz<u32>((hash << 8) | 128) + 1;
  if (inShort) raise(k, 0, <usize>(b & 3), register, rank);
  raise(k, 1, <usize>((b >>> SPAN_SHIFT) & 3), register, rank);
}

function raise(k: usize, window: usize, b: usize, register: usize, rank: u32): void {
  const base = k + window * WINDOW_PARTS * REGISTERS + register;
  const at = base + b * REGISTERS;
  const own = <u32>load<u8>(at);
  if (own >= rank) return;
  store<u8>(at, rank);
  if (own == 0) {
    const word = k + S_TOUCHED + ((window * 4 + b) << 5) + ((register >>> 5) << 2);
    store<u32>(word, load<u32>(word) | (1 << (<u32>register & 31)));
  }
  const top = base + 4 * REGISTERS;
  const before = <u32>load<u8>(top);
  if (before < rank) setTop(top, before, rank, k + S_SUMS + (window << 4));
}

/** Empties the buckets that a window leaves behind on its way from bucket `from` to the later bucket `to`. */
function leave(k: usize, window: usize, from: i32, to: i32): void {
  const base = k + window * WINDOW_PARTS * REGISTERS;
  const steps = to - from < BUCKETS ? to - from : BUCKETS;
  for (let step = 1; step <= steps; step++) {
    const b = <usize>((from + step) & 3);
    const first = k + S_TOUCHED + ((window * 4 + b) << 5);
    for (let word: usize = 0; word < 8; word++) {
      let bits = load<u32>(first + (word << 2));
      store<u32>(first + (word << 2), 0);
      for (; bits != 0; bits &= bits - 1) {
        const register = base + (word << 5) + <usize>ctz<u32>(bits);
        const gone = <u32>load<u8>(register + b * REGISTERS);
        store<u8>(register + b * REGISTERS, 0);
        const top = register + 4 * REGISTERS;
        if (<u32>load<u8>(top) != gone) continue;
        let left = <u32>load<u8>(register);
        const second = <u32>load<u8>(register, 256);
        const third = <u32>load<u8>(register, 512);
        const fourth = <u32>load<u8>(register, 768);
        if (second > left) left = second;
        if (third > left) left = third;
        if (fourth > left) left = fourth;
        if (left != gone) setTop(top, gone, left, k + S_SUMS + (window << 4));
      }
    }
  }
}

function setTop(top: usize, before: u32, rank: u32, sums: usize): void {
  store<u8>(top, rank);
  const added = load<f64>(POWERS + (<usize>rank << 3)) - load<f64>(POWERS + (<usize>before << 3));
  store<f64>(sums, load<f64>(sums) + added);
  if (before == 0) store<f64>(sums, load<f64>(sums, 8) - 1, 8);
  else if (rank == 0) store<f64>(sums, load<f64>(sums, 8) + 1, 8);
}

function estimate(sums: usize): f64 {
  const raw = (ALPHA * 256 * 256) / load<f64>(sums);
  const zeros = load<f64>(sums, 8);
  return raw <= 2.5 * 256 && zeros > 0 ? load<f64>(LINEAR + (<usize>zeros << 3)) : raw;
}

// ------------------------------------------------------------------------------------------------------------- a flow

function bucketOf(time: f64): i32 {
  const b = Math.floor(time / bucketMs);
  if (!(b > 0)) return 256;
  return b < <f64>(LATEST - 256) ? <i32>b + 256 : LATEST;
}

function add(row: u32, g: usize): void {
  const at = <usize>row << 3;
  const id = IDENTITY + <usize>row * 48;
  const version = (load<u32>(id, 36) >>> 8) & 255;
  const service = load<u32>(SERVICES + (<usize>row << 2));
  const failed = load<u32>(FLAGS + (<usize>row << 2)) & 1;
  const start = load<f64>(STARTS + at);
  const outBytes = load<f64>(OUT_BYTES + at);
  const inBytes = load<f64>(IN_BYTES + at);
  const b = bucketOf(start);
  const sourceValue = load<u32>(g, G_SOURCE_VALUE);
  const destinationValue = load<u32>(g, G_DESTINATION_VALUE);
  const serviceValue = load<u32>(g, G_SERVICE_VALUE);

  const source = acquire(
    SOURCE,
    load<u32>(g, G_SOURCE),
    load<u32>(g, G_SOURCE + 4),
    load<u32>(id),
    load<u32>(id, 4),
    load<u32>(id, 8),
    load<u32>(id, 12),
    version,
  );
  count(source, 2, b, failed, outBytes, inBytes);
  writeCounts(OF_SOURCE + at);
  addDistinct(0, destinationValue, OF_SOURCE + FIRST_SET + at);
  addDistinct(1, serviceValue, OF_SOURCE + SECOND_SET + at);

  const destination = acquire(
    DESTINATION,
    load<u32>(g, G_DESTINATION),
    load<u32>(g, G_DESTINATION + 4),
    load<u32>(id, 16),
    load<u32>(id, 20),
    load<u32>(id, 24),
    load<u32>(id, 28),
    version,
  );
  count(destination, 2, b, failed, outBytes, inBytes);
  writeCounts(OF_DESTINATION + at);
  addDistinct(0, sourceValue, OF_DESTINATION + FIRST_SET + at);
  addDistinct(1, serviceValue, OF_DESTINATION + SECOND_SET + at);

  const ofService = acquire(SERVICE, load<u32>(g, G_SERVICE), load<u32>(g, G_SERVICE + 4), service, 0, 0, 0, 0);
  count(ofService, 2, b, failed, outBytes, inBytes);
  writeCounts(OF_SERVICE + at);
  addDistinct(0, sourceValue, OF_SERVICE + FIRST_SET + at);
  addDistinct(1, destinationValue, OF_SERVICE + SECOND_SET + at);

  const sourceLife = load<u32>(source, E_LIFE);
  const destinationLife = load<u32>(destination, E_LIFE);
  const pairHash = hashKey(sourceLife, 0, 0, 0, destinationLife);
  const pair = acquire(PAIR, pairHash, load<u32>(g, G_PAIR), sourceLife, 0, 0, 0, destinationLife);
  count(pair, 1, b, failed, outBytes, inBytes);
  writeCounts(OF_PAIR + at);
  addDistinct(0, serviceValue, OF_PAIR + FIRST_SET + at);
  addInterval(pair + E_INTERVALS, start, OF_INTERVALS + at);

  const bothHash = hashKey(destinationLife, 0, 0, 0, service);
  const both = acquire(BOTH, bothHash, load<u32>(g, G_BOTH), destinationLife, 0, 0, 0, service);
  count(both, 1, b, failed, outBytes, inBytes);
  writeCounts(OF_BOTH + at);
  addDistinct(0, sourceValue, OF_BOTH + FIRST_SET + at);
}

/** Mean and variance of the times between successive starts of a pair (Finch, 2009); `isNew` is that of the pair. */
function addInterval(m: usize, start: f64, cell: usize): void {
  const intervals = isNew ? 0 : load<f64>(m) + 1;
  let mean: f64 = 0;
  let variance: f64 = 0;
  if (intervals > 0) {
    const weight = 1 / (intervals < MEMORY ? intervals : MEMORY);
    const off = Math.abs(start - load<f64>(m, 8)) - load<f64>(m, 16);
    mean = load<f64>(m, 16) + weight * off;
    variance = (1 - weight) * (load<f64>(m, 24) + weight * off * off);
  }
  store<f64>(m, intervals);
  store<f64>(m, start, 8);
  store<f64>(m, mean, 16);
  store<f64>(m, variance, 24);
  store<f64>(cell, intervals < LEAST ? NaN : mean / 1000);
  store<f64>(cell, intervals < LEAST || !(mean > 0) ? NaN : Math.sqrt(variance) / mean, COLUMN);
}
