// The inner loops of histogram boosting. Addresses are bytes; the memory is shared by all threads of a training run, and
// no function writes where another thread of the same phase reads. The plain form of each stands in
// test/twins/plain-histogram-source.ts.

// The constants and the order of operations are those of src/models/deterministic-math.ts: same bits.
const LOG2E: f64 = 1.4426950408889634;
const LN2_HIGH: f64 = 0.6931471803691238;
const LN2_LOW: f64 = 1.9082149292705877e-10;
/** Added to a whole number below 2^51, leaves it in the low bits of the sum. */
const INTEGER_BITS: f64 = 6755399441055744;
/** Gradients and hessians are whole numbers of 2^-20. */
const FIXED_POINT: f64 = 1048576;

/** e^x of two numbers in [-708, 0], 0 below. */
@inline
function expOfNegative(x: v128): v128 {
  const k = f64x2.floor(f64x2.add(f64x2.mul(x, f64x2.splat(LOG2E)), f64x2.splat(0.5)));
  const r = f64x2.sub(
    f64x2.sub(x, f64x2.mul(k, f64x2.splat(LN2_HIGH))),
    f64x2.mul(k, f64x2.splat(LN2_LOW)),
  );
  let p = f64x2.splat(1.0 / 6227020800.0);
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 479001600.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 39916800.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 3628800.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 362880.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 40320.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 5040.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 720.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 120.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 24.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 6.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(0.5));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0));
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0));
  const bits = f64x2.add(k, f64x2.splat(INTEGER_BITS));
  const power = i64x2.shl(i64x2.add(bits, i64x2.splat(1023)), 52);
  return v128.and(f64x2.mul(p, power), f64x2.ge(x, f64x2.splat(-708)));
}

/** Low halves of two vectors side by side. */
@inline
function joinLow(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2);
}

/** floor(x + 1/2) as i32, of two numbers, in the low half. */
@inline
function roundToInt(x: v128): v128 {
  return i32x4.trunc_sat_f64x2_s_zero(f64x2.floor(f64x2.add(x, f64x2.splat(0.5))));
}

/** The second half of `counterHash` for rows row..row+3; `base` is its first half. */
@inline
function hashRows(base: i32, row: i32): v128 {
  const next = i32x4.add(i32x4.splat(row + 1), i32x4(0, 1, 2, 3));
  let h = i32x4.add(i32x4.splat(base), i32x4.mul(next, i32x4.splat(0x27d4eb2f)));
  h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 16)), i32x4.splat(0x85ebca6b));
  h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 13)), i32x4.splat(0xc2b2ae35));
  return v128.xor(h, i32x4.shr_u(h, 16));
}

/** floor(n * scale + u) of the low two of n (i32) and of u (i32, in 2^-24). */
@inline
function quantizeLow(n: v128, u: v128, scale: v128): v128 {
  const draw = f64x2.mul(f64x2.convert_low_i32x4_s(u), f64x2.splat(1.0 / 16777216.0));
  return i32x4.trunc_sat_f64x2_s_zero(f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_s(n), scale), draw));
}

@inline
function highHalf(x: v128): v128 {
  return v128.shuffle<i64>(x, x, 1, 1);
}

/**
 * Rounds four fixed-point gradients and hessians to levels, both by the same draw, so that rows whose gradient and
 * hessian become 0 together are as many as may be; and stores them as g << 16 + h. Rows outside the sample become 0.
 * Without addresses `gradients` and `hessians` the fixed-point ones are not kept.
 */
@inline
function storeRows(
  g: v128, h: v128, row: i32, at: usize,
  perGradient: f64, perHessian: f64, base: i32, sampleBase: i32, sampleLimit: u32,
  gradients: usize, hessians: usize, packed: usize,
): void {
  if (sampleLimit !== 0) {
    const inside = i32x4.lt_u(hashRows(sampleBase, row), i32x4.splat(sampleLimit));
    g = v128.and(g, inside);
    h = v128.and(h, inside);
  }
  const u = i32x4.shr_u(hashRows(base, row), 8);
  const sign = i32x4.shr_s(g, 31);
  const size = i32x4.sub(v128.xor(g, sign), sign);
  const sg = f64x2.splat(perGradient);
  const sh = f64x2.splat(perHessian);
  const levels = joinLow(quantizeLow(size, u, sg), quantizeLow(highHalf(size), highHalf(u), sg));
  const signed = i32x4.sub(v128.xor(levels, sign), sign);
  const hl = joinLow(quantizeLow(h, u, sh), quantizeLow(highHalf(h), highHalf(u), sh));
  if (gradients !== 0) {
    v128.store(gradients + at, g);
    v128.store(hessians + at, h);
  }
  v128.store(packed + at, i32x4.add(i32x4.shl(signed, 16), hl));
}

/**
 * Gradients of the logistic loss of rows [from, to), from a multiple of 4, rounded up to one: fixed point and packed.
 * margins f64, labels u8, weights f32 (or address 0: all 1).
 */
export function binaryGradients(
  margins: usize, labels: usize, weights: usize, from: i32, to: i32, firstRow: i32,
  perGradient: f64, perHessian: f64, base: i32, sampleBase: i32, sampleLimit: u32,
  gradients: usize, hessians: usize, packed: usize,
): void {
  const one = f64x2.splat(1);
  const fixed = f64x2.splat(FIXED_POINT);
  for (let i = from; i < to; i += 4) {
    let g: v128 = i32x4.splat(0);
    let h: v128 = g;
    for (let half = 0; half < 2; half++) {
      const r = i + 2 * half;
      const x = v128.load(margins + ((<usize>r) << 3));
      const e = expOfNegative(f64x2.neg(f64x2.abs(x)));
      const top = v128.bitselect(one, e, f64x2.ge(x, f64x2.splat(0)));
      const p = f64x2.div(top, f64x2.add(one, e));
      const y = f64x2(<f64>load<u8>(labels + r), <f64>load<u8>(labels + r, 1));
      let w = fixed;
      if (weights !== 0) {
        const at = weights + ((<usize>r) << 2);
        w = f64x2.mul(f64x2(<f64>load<f32>(at), <f64>load<f32>(at, 4)), fixed);
      }
      const gi = roundToInt(f64x2.mul(f64x2.sub(p, y), w));
      const hi = roundToInt(f64x2.mul(f64x2.mul(p, f64x2.sub(one, p)), w));
      if (half === 0) {
        g = gi;
        h = hi;
      } else {
        g = joinLow(g, gi);
        h = joinLow(h, hi);
      }
    }
    storeRows(g, h, firstRow + i, (<usize>i) << 2, perGradient, perHessian, base, sampleBase, sampleLimit,
      gradients, hessians, packed);
  }
}

/**
 * Gradients of the softmax loss, as above; margins, gradients, hessians and packed are class-major, `stride` rows a class;
 * labels are the classes; `bases` holds one i32 a class; `terms` is scratch of 16 bytes x 2 a class. The hessian
 * is `factor` p (1 - p).
 */
export function softmaxGradients(
  margins: usize, classes: i32, stride: i32, labels: usize, weights: usize, from: i32, to: i32, firstRow: i32,
  perGradient: f64, perHessian: f64, factor: f64, bases: usize, sampleBase: i32, sampleLimit: u32,
  terms: usize, gradients: usize, hessians: usize, packed: usize,
): void {
  const one = f64x2.splat(1);
  const fixed = f64x2.splat(FIXED_POINT);
  const byFactor = f64x2.splat(factor);
  for (let i = from; i < to; i += 4) {
    let sum0 = f64x2.splat(0);
    let sum1 = f64x2.splat(0);
    let top0 = v128.load(margins + ((<usize>i) << 3));
    let top1 = v128.load(margins + ((<usize>i) << 3), 16);
    for (let k = 1; k < classes; k++) {
      const at = margins + (((<usize>k) * stride + i) << 3);
      top0 = f64x2.pmax(top0, v128.load(at));
      top1 = f64x2.pmax(top1, v128.load(at, 16));
    }
    for (let k = 0; k < classes; k++) {
      const at = margins + (((<usize>k) * stride + i) << 3);
      const e0 = expOfNegative(f64x2.sub(v128.load(at), top0));
      const e1 = expOfNegative(f64x2.sub(v128.load(at, 16), top1));
      const term = terms + ((<usize>k) << 5);
      v128.store(term, e0);
      v128.store(term, e1, 16);
      sum0 = f64x2.add(sum0, e0);
      sum1 = f64x2.add(sum1, e1);
    }
    let w0 = fixed;
    let w1 = fixed;
    if (weights !== 0) {
      const at = weights + ((<usize>i) << 2);
      w0 = f64x2.mul(f64x2(<f64>load<f32>(at), <f64>load<f32>(at, 4)), fixed);
      w1 = f64x2.mul(f64x2(<f64>load<f32>(at, 8), <f64>load<f32>(at, 12)), fixed);
    }
    for (let k = 0; k < classes; k++) {
      const term = terms + ((<usize>k) << 5);
      const p0 = f64x2.div(v128.load(term), sum0);
      const p1 = f64x2.div(v128.load(term, 16), sum1);
      const y0 = f64x2(<f64>i32(i32(load<u8>(labels + i)) === k), <f64>i32(i32(load<u8>(labels + i, 1)) === k));
      const y1 = f64x2(<f64>i32(i32(load<u8>(labels + i, 2)) === k), <f64>i32(i32(load<u8>(labels + i, 3)) === k));
      const g = joinLow(
        roundToInt(f64x2.mul(f64x2.sub(p0, y0), w0)),
        roundToInt(f64x2.mul(f64x2.sub(p1, y1), w1)),
      );
      const h0 = f64x2.mul(f64x2.mul(f64x2.mul(p0, f64x2.sub(one, p0)), byFactor), w0);
      const h1 = f64x2.mul(f64x2.mul(f64x2.mul(p1, f64x2.sub(one, p1)), byFactor), w1);
      storeRows(g, joinLow(roundToInt(h0), roundToInt(h1)), firstRow + i, ((<usize>k) * stride + i) << 2,
        perGradient, perHessian, load<i32>(bases + ((<usize>k) << 2)), sampleBase, sampleLimit,
        gradients, hessians, packed);
    }
  }
}

/** Adds gathered rows to the accumulators of sixteen columns a pass, so that these stay in the first cache. */
function accumulate(buffer: usize, values: usize, count: usize, stride: usize, acc: usize): void {
  let from: usize = 0;
  const end = values + (count << 2);
  while (from + 16 <= stride) {
    let row = buffer + from;
    let value = values;
    const a = acc + (from << 10);
    do {
      const p = load<i32>(value);
      let at = a + (<usize>load<u8>(row) << 2);
      store<i32>(at, load<i32>(at) + p);
      at = a + (<usize>load<u8>(row, 1) << 2);
      store<i32>(at, load<i32>(at, 1024) + p, 1024);
      at = a + (<usize>load<u8>(row, 2) << 2);
      store<i32>(at, load<i32>(at, 2048) + p, 2048);
      at = a + (<usize>load<u8>(row, 3) << 2);
      store<i32>(at, load<i32>(at, 3072) + p, 3072);
      at = a + (<usize>load<u8>(row, 4) << 2);
      store<i32>(at, load<i32>(at, 4096) + p, 4096);
      at = a + (<usize>load<u8>(row, 5) << 2);
      store<i32>(at, load<i32>(at, 5120) + p, 5120);
      at = a + (<usize>load<u8>(row, 6) << 2);
      store<i32>(at, load<i32>(at, 6144) + p, 6144);
      at = a + (<usize>load<u8>(row, 7) << 2);
      store<i32>(at, load<i32>(at, 7168) + p, 7168);
      at = a + (<usize>load<u8>(row, 8) << 2);
      store<i32>(at, load<i32>(at, 8192) + p, 8192);
      at = a + (<usize>load<u8>(row, 9) << 2);
      store<i32>(at, load<i32>(at, 9216) + p, 9216);
      at = a + (<usize>load<u8>(row, 10) << 2);
      store<i32>(at, load<i32>(at, 10240) + p, 10240);
      at = a + (<usize>load<u8>(row, 11) << 2);
      store<i32>(at, load<i32>(at, 11264) + p, 11264);
      at = a + (<usize>load<u8>(row, 12) << 2);
      store<i32>(at, load<i32>(at, 12288) + p, 12288);
      at = a + (<usize>load<u8>(row, 13) << 2);
      store<i32>(at, load<i32>(at, 13312) + p, 13312);
      at = a + (<usize>load<u8>(row, 14) << 2);
      store<i32>(at, load<i32>(at, 14336) + p, 14336);
      at = a + (<usize>load<u8>(row, 15) << 2);
      store<i32>(at, load<i32>(at, 15360) + p, 15360);
      row += stride;
      value += 4;
    } while (value < end);
    from += 16;
  }
  if (from < stride) {
    let row = buffer + from;
    let value = values;
    const a = acc + (from << 10);
    do {
      const p = load<i32>(value);
      let at = a + (<usize>load<u8>(row) << 2);
      store<i32>(at, load<i32>(at) + p);
      at = a + (<usize>load<u8>(row, 1) << 2);
      store<i32>(at, load<i32>(at, 1024) + p, 1024);
      at = a + (<usize>load<u8>(row, 2) << 2);
      store<i32>(at, load<i32>(at, 2048) + p, 2048);
      at = a + (<usize>load<u8>(row, 3) << 2);
      store<i32>(at, load<i32>(at, 3072) + p, 3072);
      at = a + (<usize>load<u8>(row, 4) << 2);
      store<i32>(at, load<i32>(at, 4096) + p, 4096);
      at = a + (<usize>load<u8>(row, 5) << 2);
      store<i32>(at, load<i32>(at, 5120) + p, 5120);
      at = a + (<usize>load<u8>(row, 6) << 2);
      store<i32>(at, load<i32>(at, 6144) + p, 6144);
      at = a + (<usize>load<u8>(row, 7) << 2);
      store<i32>(at, load<i32>(at, 7168) + p, 7168);
      row += stride;
      value += 4;
    } while (value < end);
  }
}

/** Takes the accumulators apart into the sums G and H, and clears them. `widths`: u32, entries a column, multiples of 4. */
function widen(acc: usize, widths: usize, columns: i32, outG: usize, outH: usize): void {
  const low = i32x4.splat(0xffff);
  const zero = i32x4.splat(0);
  for (let f = 0; f < columns; f++) {
    let at = acc + ((<usize>f) << 10);
    const end = at + (<usize>load<u32>(widths + ((<usize>f) << 2)) << 2);
    while (at < end) {
      const sum = v128.load(at);
      v128.store(at, zero);
      v128.store(outG, i32x4.add(v128.load(outG), i32x4.shr_s(sum, 16)));
      v128.store(outH, i32x4.add(v128.load(outH), v128.and(sum, low)));
      at += 16;
      outG += 16;
      outH += 16;
    }
  }
}

/**
 * Writes the entries of a tree's root: row number, packed gradient above it, 8 bytes a row. Gives how many rows have a
 * gradient other than 0.
 */
export function listRows(packed: usize, from: i32, to: i32, entries: usize): i32 {
  let filled = 0;
  for (let row = from; row < to; row++) {
    const p = load<u32>(packed + ((<usize>row) << 2));
    store<u64>(entries + ((<usize>row) << 3), (<u64>p << 32) | <u64>row);
    filled += <i32>(p !== 0);
  }
  return filled;
}

/**
 * Histogram of `count` entries, added to G and H (i32, cleared by the caller). `bins`: u8, row-major, `stride` bytes a row,
 * a multiple of 8. `acc`: stride x 1024 bytes, zero before and after; taken apart after `limit` rows at most. Rows
 * whose packed gradient is 0 are passed over. `room` rows are gathered at a time, limit at most: `index` and `values` (4
 * bytes a row) and `buffer` (stride bytes a row, 16 over) hold that many.
 */
export function histogram(
  entries: usize, count: i32, limit: i32, bins: usize, stride: usize, columns: i32, widths: usize,
  acc: usize, index: usize, values: usize, buffer: usize, room: i32, outG: usize, outH: usize,
): void {
  const end = entries + ((<usize>count) << 3);
  let at = index;
  let value = values;
  let summed: usize = 0;
  while (entries < end) {
    const free = <usize>room - ((at - index) >> 2);
    const left = (end - entries) >> 3;
    const stop = entries + ((free < left ? free : left) << 3);
    do {
      const p = load<i32>(entries, 4);
      store<u32>(at, load<u32>(entries));
      store<i32>(value, p);
      const step = (<usize>(p !== 0)) << 2;
      at += step;
      value += step;
      entries += 8;
    } while (entries < stop);
    const n = (at - index) >> 2;
    if (n === 0 || (n < <usize>room && entries < end)) continue;
    if (summed + n > <usize>limit) {
      widen(acc, widths, columns, outG, outH);
      summed = 0;
    }
    summed += n;
    gather(index, n, bins, stride, buffer);
    accumulate(buffer, values, n, stride, acc);
    at = index;
    value = values;
  }
  widen(acc, widths, columns, outG, outH);
}

/** The same of the rows [from, from + count) as they lie, without a list: for a root where few gradients are 0. */
export function rootHistogram(
  packed: usize, from: i32, count: i32, limit: i32, bins: usize, stride: usize, columns: i32, widths: usize,
  acc: usize, room: i32, outG: usize, outH: usize,
): void {
  let row = <usize>from;
  const end = row + <usize>count;
  let summed: usize = 0;
  while (row < end) {
    const left = end - row;
    const n = left < <usize>room ? left : <usize>room;
    if (summed + n > <usize>limit) {
      widen(acc, widths, columns, outG, outH);
      summed = 0;
    }
    summed += n;
    accumulate(bins + row * stride, packed + (row << 2), n, stride, acc);
    row += n;
  }
  widen(acc, widths, columns, outG, outH);
}

/** Copies rows side by side; up to 15 bytes behind a row are overwritten by the next. */
function gather(index: usize, count: usize, bins: usize, stride: usize, buffer: usize): void {
  const end = index + (count << 2);
  if (stride === 40) {
    do {
      const from = bins + <usize>load<u32>(index) * 40;
      v128.store(buffer, v128.load(from));
      v128.store(buffer, v128.load(from, 16), 16);
      store<u64>(buffer, load<u64>(from, 32), 32);
      buffer += 40;
      index += 4;
    } while (index < end);
    return;
  }
  do {
    const from = bins + <usize>load<u32>(index) * stride;
    for (let b: usize = 0; b < stride; b += 16) v128.store(buffer + b, v128.load(from + b));
    buffer += stride;
    index += 4;
  } while (index < end);
}

/** a -= b, i32, a multiple of 4 entries. */
export function subtract(a: usize, b: usize, entries: i32): void {
  const end = a + ((<usize>entries) << 2);
  while (a < end) {
    v128.store(a, i32x4.sub(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
  }
}

/** a += b, i32, a multiple of 4 entries. */
export function add(a: usize, b: usize, entries: i32): void {
  const end = a + ((<usize>entries) << 2);
  while (a < end) {
    v128.store(a, i32x4.add(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
  }
}

/**
 * Stable: entries that go left are written to `entries` again, the others to `right`. `column`: u8, one a row; `table`: u8,
 * one a bin, 1 goes left. Gives how many went left.
 */
export function partition(entries: usize, count: i32, column: usize, table: usize, right: usize): i32 {
  const start = entries;
  const end = entries + ((<usize>count) << 3);
  let left = entries;
  while (entries < end) {
    const entry = load<u64>(entries);
    const goesLeft = <usize>load<u8>(table + <usize>load<u8>(column + <usize>(<u32>entry)));
    // Both are written, one counts: no branch to mispredict.
    store<u64>(left, entry);
    store<u64>(right, entry);
    left += goesLeft << 3;
    right += (1 - goesLeft) << 3;
    entries += 8;
  }
  return <i32>((left - start) >> 3);
}

/** Sums of the fixed-point gradients and hessians of these rows, as two f64 (exact below 2^53). */
export function leafSums(entries: usize, count: i32, gradients: usize, hessians: usize, out: usize): void {
  const end = entries + ((<usize>count) << 3);
  let g: i64 = 0;
  let h: i64 = 0;
  while (entries < end) {
    const at = (<usize>load<u32>(entries)) << 2;
    g += load<i32>(gradients + at);
    h += load<i32>(hessians + at);
    entries += 8;
  }
  store<f64>(out, <f64>g);
  store<f64>(out, <f64>h, 8);
}

/** Sums of the rounded gradients and hessians of these rows, as two f64, in levels. */
export function levelSums(entries: usize, count: i32, out: usize): void {
  const end = entries + ((<usize>count) << 3);
  let g: i64 = 0;
  let h: i64 = 0;
  while (entries < end) {
    const p = load<i32>(entries, 4);
    g += p >> 16;
    h += p & 0xffff;
    entries += 8;
  }
  store<f64>(out, <f64>g);
  store<f64>(out, <f64>h, 8);
}

/** Adds a leaf's value to the margins (f64) of its rows. */
export function addLeaf(entries: usize, count: i32, margins: usize, value: f64): void {
  const end = entries + ((<usize>count) << 3);
  while (entries < end) {
    const at = margins + ((<usize>load<u32>(entries)) << 3);
    store<f64>(at, load<f64>(at) + value);
    entries += 8;
  }
}
