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

@inline
function sumOf(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}
