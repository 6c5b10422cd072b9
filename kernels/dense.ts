// Inner loops over dense float32 rows. Addresses are bytes, rows lie one behind the other, each a multiple of 16 floats
// long (the rest zeros) and aligned to 16 bytes. Sums run in sixteen strands that are added in one fixed order, so that
// every machine gives the same bits; the plain form stands in test/twins/plain-dense.ts.

let nearestRow: u32 = 0;

/** The row that the last `nearest` settled on. */
export function nearest_row(): u32 {
  return nearestRow;
}

/**
 * Squared distance of the query to the nearest of rows [from, to), or `best` where none is nearer. The first of equal
 * ones counts. `width`: floats of a row.
 */
export function nearest(points: usize, query: usize, width: u32, from: u32, to: u32, best: f32): f32 {
  const bytes = (<usize>width) << 2;
  for (let row = from; row < to; row++) {
    const start = points + <usize>row * bytes;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    for (let at: usize = 0; at < bytes; at += 64) {
      const p = start + at;
      const q = query + at;
      const u = f32x4.sub(v128.load(q), v128.load(p));
      const v = f32x4.sub(v128.load(q, 16), v128.load(p, 16));
      const w = f32x4.sub(v128.load(q, 32), v128.load(p, 32));
      const x = f32x4.sub(v128.load(q, 48), v128.load(p, 48));
      a = f32x4.add(a, f32x4.mul(u, u));
      b = f32x4.add(b, f32x4.mul(v, v));
      c = f32x4.add(c, f32x4.mul(w, w));
      d = f32x4.add(d, f32x4.mul(x, x));
    }
    const sum = sumOf(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
    if (sum < best) {
      best = sum;
      nearestRow = row;
    }
  }
  return best;
}

/**
 * out = start + a b for `rows` rows (a multiple of 4) and `n` columns (a multiple of 8): each sum begins at `start` of its
 * column and runs over k in order. a: rows x `aBytes`; b: k rows of n floats; start: n floats; out: rows of n floats.
 */
export function multiply(
  a: usize,
  aBytes: usize,
  k: u32,
  b: usize,
  start: usize,
  out: usize,
  rows: u32,
  n: u32,
): void {
  const bytes = (<usize>n) << 2;
  const inner = (<usize>k) << 2;
  for (let r: u32 = 0; r < rows; r += 4) {
    const first = a + <usize>r * aBytes;
    const to = out + <usize>r * bytes;
    for (let c: usize = 0; c < bytes; c += 32) {
      let s0 = v128.load(start + c);
      let t0 = v128.load(start + c, 16);
      let s1 = s0;
      let t1 = t0;
      let s2 = s0;
      let t2 = t0;
      let s3 = s0;
      let t3 = t0;
      let q = b + c;
      for (let at: usize = 0; at < inner; at += 4) {
        const u = v128.load(q);
        const v = v128.load(q, 16);
        q += bytes;
        const x0 = v128.load_splat<f32>(first + at);
        s0 = f32x4.add(s0, f32x4.mul(x0, u));
        t0 = f32x4.add(t0, f32x4.mul(x0, v));
        const x1 = v128.load_splat<f32>(first + aBytes + at);
        s1 = f32x4.add(s1, f32x4.mul(x1, u));
        t1 = f32x4.add(t1, f32x4.mul(x1, v));
        const x2 = v128.load_splat<f32>(first + 2 * aBytes + at);
        s2 = f32x4.add(s2, f32x4.mul(x2, u));
        t2 = f32x4.add(t2, f32x4.mul(x2, v));
        const x3 = v128.load_splat<f32>(first + 3 * aBytes + at);
        s3 = f32x4.add(s3, f32x4.mul(x3, u));
        t3 = f32x4.add(t3, f32x4.mul(x3, v));
      }
      const p = to + c;
      v128.store(p, s0);
      v128.store(p, t0, 16);
      v128.store(p + bytes, s1);
      v128.store(p + bytes, t1, 16);
      v128.store(p + 2 * bytes, s2);
      v128.store(p + 2 * bytes, t2, 16);
      v128.store(p + 3 * bytes, s3);
      v128.store(p + 3 * bytes, t3, 16);
    }
  }
}

/** Sets what is not above 0 to 0; `count` is a multiple of 4. */
export function rectify(at: usize, count: u32): void {
  const end = at + ((<usize>count) << 2);
  const zero = f32x4.splat(0);
  for (; at < end; at += 16) v128.store(at, f32x4.pmax(zero, v128.load(at)));
}

/** Sets to 0 where `output`, rectified, is 0; `count` is a multiple of 4. */
export function shut(at: usize, output: usize, count: u32): void {
  const end = at + ((<usize>count) << 2);
  const zero = f32x4.splat(0);
  for (; at < end; at += 16, output += 16) {
    v128.store(at, v128.and(v128.load(at), f32x4.gt(v128.load(output), zero)));
  }
}

// A float32 in [128, 256) has steps of 2^-16, so that 192 + v, read as a whole number, counts v in such steps, rounded to
// even, for v within +-64.
const STEPS: f32 = 192;
const STEPS_BITS: i32 = 0x43400000;
const LIMIT: f32 = 64;

@inline
function stepsOf(v: v128): v128 {
  // The first operand where the second is no number.
  const above = f32x4.pmin(f32x4.splat(LIMIT), v);
  return f32x4.add(f32x4.splat(STEPS), f32x4.pmax(f32x4.splat(-LIMIT), above));
}

/**
 * Adds up what each row says of a layer's weights, delta_o x_i, and of its biases, delta_o, each in whole steps of 2^-16 and
 * within +-64: int32 sums that no order changes. delta: rows of `outputs` floats (a multiple of 8); x: rows of n floats
 * (a multiple of 8); sums: outputs x n; biases: outputs. Both are overwritten.
 */
export function gradients(
  delta: usize,
  outputs: u32,
  x: usize,
  n: u32,
  rows: u32,
  sums: usize,
  biases: usize,
): void {
  const deltaBytes = (<usize>outputs) << 2;
  const bytes = (<usize>n) << 2;
  const zero = i32x4.splat(-STEPS_BITS * <i32>rows);
  for (let o: usize = 0; o < deltaBytes; o += 16) {
    let sum = zero;
    let d = delta + o;
    for (let r: u32 = 0; r < rows; r++, d += deltaBytes) sum = i32x4.add(sum, stepsOf(v128.load(d)));
    v128.store(biases + o, sum);
  }
  for (let o: usize = 0; o < deltaBytes; o += 8) {
    const to = sums + (o >> 2) * bytes;
    for (let c: usize = 0; c < bytes; c += 32) {
      let s0 = zero;
      let t0 = zero;
      let s1 = zero;
      let t1 = zero;
      let d = delta + o;
      let p = x + c;
      for (let r: u32 = 0; r < rows; r++, d += deltaBytes, p += bytes) {
        const u = v128.load(p);
        const v = v128.load(p, 16);
        const d0 = v128.load_splat<f32>(d);
        s0 = i32x4.add(s0, stepsOf(f32x4.mul(d0, u)));
        t0 = i32x4.add(t0, stepsOf(f32x4.mul(d0, v)));
        const d1 = v128.load_splat<f32>(d, 4);
        s1 = i32x4.add(s1, stepsOf(f32x4.mul(d1, u)));
        t1 = i32x4.add(t1, stepsOf(f32x4.mul(d1, v)));
      }
      v128.store(to + c, s0);
      v128.store(to + c, t0, 16);
      v128.store(to + bytes + c, s1);
      v128.store(to + bytes + c, t1, 16);
    }
  }
}

@inline
function sumOf(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}
