// Writes columns of numbers into row-major float32 vectors: validation by range, clipping, log1p. Addresses are bytes.
// The plain form is `ColumnCodec` in src/features, value by value; where both leave float32's rounding in doubt, and
// where a value needs a policy that is not spelled out here, the caller decides.

// One program, PROGRAM_BYTES: low and high (f64), missing and clipped (f64, counted here), cells (u32), flags (u32).
const PROGRAM_BYTES: usize = 40;
const LOG: u32 = 1;
const CLIP: u32 = 2;
const MAY_MISS: u32 = 4;
// The value is a set of bits of which the upper half of the flags picks one: 1 where it is set.
const BIT: u32 = 8;

// Tables for log1p: float32 of small whole numbers; by biased exponent 2^-e and e ln 2; by 128 parts of [1, 2) 1/c and ln c.
let smallLogs: usize = 0;
let smallCount: f64 = 0;
let scales: usize = 0;
let parts: usize = 0;

export function set_tables(small: usize, count: u32, scale: usize, part: usize): void {
  smallLogs = small;
  smallCount = <f64>count;
  scales = scale;
  parts = part;
}

/**
 * Column c of `count` goes to `out + 4 c` and on, `stride` bytes a row. What the caller has to settle is written to
 * `exceptions` as row << 16 | column, in order of column, then row, its place left NaN. Returns how many there are.
 *
 * log1p(x) for x >= 0: y = 1 + x = 2^e c (1 + r), six terms of the series for r, and what rounding took from y to first
 * order; its relative error is below 4e-13, so that both ends of that interval round to one float32 but for some
 * values in a hundred thousand, which are exceptions (Ziv, 1991).
 */
export function write_columns(
  programs: usize,
  count: u32,
  rows: u32,
  out: usize,
  stride: usize,
  exceptions: usize,
): u32 {
  let excepted = exceptions;
  for (let c: u32 = 0; c < count; c++) {
    const program = programs + <usize>c * PROGRAM_BYTES;
    const low = load<f64>(program);
    const high = load<f64>(program, 8);
    let cell: usize = load<u32>(program, 32);
    const flags = load<u32>(program, 36);
    const isLog = (flags & LOG) != 0;
    let missing: u32 = 0;
    let clipped: u32 = 0;
    // Values repeat from row to row: what the last one gave serves again.
    let isKnown = false;
    let before: u64 = 0;
    let last: f32 = 0;
    let wasMissing: u32 = 0;
    let wasClipped: u32 = 0;
    let to = out + (<usize>c << 2);
    for (let row: u32 = 0; row < rows; row++, cell += 8, to += stride) {
      const given = load<u64>(cell);
      if (given == before && isKnown) {
        store<f32>(to, last);
        missing += wasMissing;
        clipped += wasClipped;
        continue;
      }
      before = given;
      isKnown = true;
      wasMissing = 0;
      wasClipped = 0;
      let x = reinterpret<f64>(given);
      if ((flags & BIT) != 0 && x == x) {
        x = x >= 0 && x < 65536 && ((<u32>x) & (flags >> 16)) != 0 ? 1 : 0;
      }
      if (!(x >= low && x <= high)) {
        if (x != x && (flags & MAY_MISS) != 0) {
          missing++;
          wasMissing = 1;
          last = f32.NaN;
          store<f32>(to, last);
          continue;
        }
        if ((flags & CLIP) != 0 && x - x == 0) {
          clipped++;
          wasClipped = 1;
          x = x < low ? low : high;
        } else {
          isKnown = false;
          store<f32>(to, f32.NaN);
          store<u32>(excepted, (row << 16) | c);
          excepted += 4;
          continue;
        }
      }
      if (!isLog) {
        last = <f32>x;
        store<f32>(to, last);
        continue;
      }
      if (x >= 0 && x < smallCount) {
        const whole = <i32>x;
        if (<f64>whole == x) {
          last = load<f32>(smallLogs + (<usize>whole << 2));
          store<f32>(to, last);
          continue;
        }
      }
      const y = 1 + x;
      const bits = reinterpret<u64>(y);
      const scale = scales + ((<usize>(bits >> 52)) << 4);
      const part = parts + ((<usize>((bits >> 45) & 127)) << 4);
      const inverse = load<f64>(scale) * load<f64>(part);
      const r = y * inverse - 1;
      const r2 = r * r;
      const series = r - r2 * (1.0 / 2.0 - r * (1.0 / 3.0) + r2 * (1.0 / 4.0 - r * (1.0 / 5.0) + r2 * (1.0 / 6.0)));
      const log = load<f64>(scale, 8) + load<f64>(part, 8) + series + (x - (y - 1)) * inverse;
      const room = log * 4e-13;
      const rounded = <f32>(log - room);
      // Below 0 a sum of table and series loses digits, and huge numbers have no exponent in the table.
      last = rounded;
      if (x >= 0 && x < 1e300 && rounded == <f32>(log + room)) store<f32>(to, rounded);
      else {
        isKnown = false;
        store<f32>(to, f32.NaN);
        store<u32>(excepted, (row << 16) | c);
        excepted += 4;
      }
    }
    if (missing != 0) store<f64>(program, load<f64>(program, 16) + <f64>missing, 16);
    if (clipped != 0) store<f64>(program, load<f64>(program, 24) + <f64>clipped, 24);
  }
  return <u32>((excepted - exceptions) >> 2);
}
