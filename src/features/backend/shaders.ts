import { ORDER_KEY_WGSL } from './order-key.ts';

/** Invocations of a workgroup: the least that every device offers. */
export const WORKGROUP = 256;

/**
 * Floats travel as their bits. A shader may assume that no NaN exists and may flush subnormal numbers, so what is
 * missing is told by the bits, and order by a key of the bits, which is exact: negative numbers inverted, others
 * with the sign set, -0 as 0.
 */
const COMMON = /* wgsl */ `
const NAN_BITS = 0x7fc00000u;
fn isMissing(bits: u32) -> bool { return (bits & 0x7f800000u) == 0x7f800000u; }
${ORDER_KEY_WGSL}
fn fromKey(key: u32) -> u32 { return select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u); }
`;

/**
 * log1p by 1 + x = 2^k (1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1], and log(1 + f) = f - s (f - R) with
 * s = f / (2 + f), R = 2 s^2/3 + 2 s^4/5 + ...: what the rounded s adds to the error is small. k times the head of ln 2
 * is exact, so that the mean can be taken off before anything large is rounded. Plan of a column, 8 words: log1p
 * or not, mean (head, tail), 1 / deviation, clip.
 */
export const NORMALISE_SHADER = /* wgsl */ `
${COMMON}
struct Shape { count: u32, columns: u32, unused0: u32, unused1: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read> plan: array<u32>;
@group(0) @binding(3) var<storage, read_write> results: array<u32>;

const LN2_HEAD = 0.693145751953125;
const LN2_TAIL = 0.0000014286068203094173;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= shape.count) { return; }
  let bits = values[i];
  let p = (i % shape.columns) * 8u;
  if (isMissing(bits)) { results[i] = NAN_BITS; return; }
  let x = bitcast<f32>(bits);
  let mean = bitcast<f32>(plan[p + 1u]);
  let meanTail = bitcast<f32>(plan[p + 2u]);
  var z = 0.0;
  if (plan[p] == 1u) {
    if (x <= -1.0) { results[i] = NAN_BITS; return; }
    let u = 1.0 + x;
    let lost = select(1.0 - (u - x), x - (u - 1.0), x < 1.0) / u;
    // 0x3f3504f3 is sqrt(1/2): its fraction decides where the power of two changes.
    let shifted = bitcast<u32>(u) + (0x3f800000u - 0x3f3504f3u);
    let k = f32(i32(shifted >> 23u) - 127);
    let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    let s = f / (2.0 + f);
    let q = s * s;
    let r = q * (0.6666666667 + q * (0.4 + q * (0.2857142857 + q * (0.2222222222 + q * 0.1818181818))));
    let rest = (f - s * (f - r)) + (k * LN2_TAIL + lost - meanTail);
    z = (k * LN2_HEAD - mean) + rest;
  } else {
    z = (x - mean) - meanTail;
  }
  let limit = bitcast<f32>(plan[p + 4u]);
  results[i] = bitcast<u32>(clamp(z * bitcast<f32>(plan[p + 3u]), -limit, limit));
}
`;

/**
 * Plan of a bin column, 4 words: column of the table, first edge, number of edges, 1 for categories. Edges are order
 * keys. Each invocation writes one word of `per` bins, 4 of a byte or 2 of two bytes.
 */
export const BIN_SHADER = /* wgsl */ `
${COMMON}
struct Shape { count: u32, columns: u32, width: u32, per: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read> plan: array<u32>;
@group(0) @binding(3) var<storage, read> edges: array<u32>;
@group(0) @binding(4) var<storage, read_write> results: array<u32>;

fn binOf(bits: u32, p: u32) -> u32 {
  if (isMissing(bits)) { return 0u; }
  var wanted = orderKey(bits);
  let isCategory = plan[p + 3u] == 1u;
  if (isCategory) {
    // Below 0 or above every category: decided by the bits, so that the conversion is always defined.
    if (wanted < 0x80000000u || wanted >= 0xc7800000u) { return 0u; }
    wanted = orderKey(bitcast<u32>(trunc(bitcast<f32>(bits))));
  }
  let first = plan[p + 1u];
  let end = first + plan[p + 2u];
  var low = first;
  var high = end;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (edges[middle] < wanted) { low = middle + 1u; } else { high = middle; }
  }
  if (isCategory) {
    if (low == end) { return 0u; }
    if (edges[low] != wanted) { return 0u; }
  }
  return low - first + 1u;
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let start = id.x * shape.per;
  if (start >= shape.count) { return; }
  var word = 0u;
  for (var j = 0u; j < shape.per; j++) {
    let i = start + j;
    if (i >= shape.count) { break; }
    let p = (i % shape.width) * 4u;
    let bin = binOf(values[(i / shape.width) * shape.columns + plan[p]], p);
    word |= bin << (j * (32u / shape.per));
  }
  results[id.x] = word;
}
`;

/**
 * One invocation a piece and column. A piece is at most `PIECE_ROWS` entries of `order`, all of one segment; it gives 4
 * words: the sum and its rounding error (Neumaier), the order key of the largest value, and how many there were.
 */
export const REDUCE_SHADER = /* wgsl */ `
${COMMON}
struct Shape { count: u32, columns: u32, unused0: u32, unused1: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> bounds: array<u32>;
@group(0) @binding(4) var<storage, read_write> results: array<u32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.count) { return; }
  let piece = id.x / shape.columns;
  let column = id.x % shape.columns;
  var sum = 0.0;
  var lost = 0.0;
  var largest = 0u;
  var count = 0u;
  let end = bounds[piece + 1u];
  for (var at = bounds[piece]; at < end; at++) {
    let bits = values[order[at] * shape.columns + column];
    if (isMissing(bits)) { continue; }
    let x = bitcast<f32>(bits);
    let next = sum + x;
    if (abs(sum) >= abs(x)) { lost += (sum - next) + x; } else { lost += (x - next) + sum; }
    sum = next;
    largest = max(largest, orderKey(bits));
    count++;
  }
  let to = id.x * 4u;
  results[to] = bitcast<u32>(sum);
  results[to + 1u] = bitcast<u32>(lost);
  results[to + 2u] = select(fromKey(largest), NAN_BITS, count == 0u);
  results[to + 3u] = count;
}
`;

/** Rows of one piece: enough to be worth an invocation, few enough that one large segment keeps a device busy. */
export const PIECE_ROWS = 512;
