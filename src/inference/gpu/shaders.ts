import { ORDER_KEY_WGSL } from '../../features/index.ts';
import { FLAG_BITS } from './packed-trees.ts';

/** Invocations of a workgroup: the least that every device offers. */
export const WORKGROUP = 256;
/** Normal rows that one invocation of the search compares at once. */
export const NORMALS_AT_ONCE = 4;

/**
 * Sums of leaves, exact: rows walk by comparing order keys of the bits, so that NaN, infinities, subnormals and both zeros go where
 * they go on the CPU, and leaves are whole numbers of 64 bits in two words. A workgroup takes some rows; for each row `groups`
 * invocations walk every groups-th tree. Neighbouring invocations walk the same tree over neighbouring rows. One head a y.
 * `isGathered`: row r is row order[r] of the values. Results: 2 words a row and head.
 */
export const TREES_SHADER = /* wgsl */ `
struct Shape { rows: u32, columns: u32, heads: u32, groups: u32, isGathered: u32, unused0: u32, unused1: u32, unused2: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> values: array<u32>;
@group(0) @binding(2) var<storage, read> nodes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> roots: array<u32>;
@group(0) @binding(4) var<storage, read> bitsets: array<u32>;
@group(0) @binding(5) var<storage, read> order: array<u32>;
@group(0) @binding(6) var<storage, read_write> results: array<vec2<u32>>;

var<workgroup> low: array<u32, ${WORKGROUP}>;
var<workgroup> high: array<u32, ${WORKGROUP}>;

${ORDER_KEY_WGSL}

fn goesLeft(node: vec4<u32>, bits: u32) -> bool {
  let missingLeft = (node.y & ${FLAG_BITS.missingLeft}u) != 0u;
  if ((node.y & ${FLAG_BITS.categorical}u) != 0u) {
    if (bits == 0x80000000u) { return (bitsets[node.x] & 1u) != 0u; }
    // Negative, NaN, 256 and above: no category.
    if (bits >= 0x43800000u) { return missingLeft; }
    let category = u32(bitcast<f32>(bits));
    return ((bitsets[node.x + (category >> 5u)] >> (category & 31u)) & 1u) != 0u;
  }
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return missingLeft; }
  return orderKey(bits) <= node.x;
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let perGroup = ${WORKGROUP}u / shape.groups;
  let r = workgroup.x * perGroup + local % perGroup;
  let head = workgroup.y;
  var sumLow = 0u;
  var sumHigh = 0u;
  if (r < shape.rows) {
    var row = r;
    if (shape.isGathered != 0u) { row = order[r]; }
    let base = row * shape.columns;
    let end = roots[head * 2u + 1u];
    for (var t = roots[head * 2u] + local / perGroup; t < end; t += shape.groups) {
      var node = nodes[roots[shape.heads * 2u + t]];
      while (node.z != 0u) {
        let bits = values[base + (node.y & 0xffffu)];
        node = nodes[node.z + select(1u, 0u, goesLeft(node, bits))];
      }
      let before = sumLow;
      sumLow += node.x;
      sumHigh += node.w + select(0u, 1u, sumLow < before);
    }
  }
  low[local] = sumLow;
  high[local] = sumHigh;
  workgroupBarrier();
  if (local < perGroup && r < shape.rows) {
    for (var g = local + perGroup; g < ${WORKGROUP}u; g += perGroup) {
      let before = sumLow;
      sumLow += low[g];
      sumHigh += high[g] + select(0u, 1u, sumLow < before);
    }
    results[r * shape.heads + head] = vec2<u32>(sumLow, sumHigh);
  }
}
`;

/**
 * Squared distance of each point to the nearest of a slice of the normal rows; slices side by side, so that few rows still keep a
 * device busy. Rows are filled up with zeros to vectors of four, normal rows to a multiple of four by repeating the last.
 */
export const NEAREST_SHADER = /* wgsl */ `
struct Shape { rows: u32, width: u32, normals: u32, slices: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> normals: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.rows) { return; }
  let width = shape.width;
  let first = id.x * width;
  let fours = shape.normals / ${NORMALS_AT_ONCE}u;
  var best = 3.4e38;
  for (var four = id.y; four < fours; four += shape.slices) {
    let a = four * ${NORMALS_AT_ONCE}u * width;
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    for (var i = 0u; i < width; i++) {
      let x = points[first + i];
      let d0 = x - normals[a + i];
      let d1 = x - normals[a + width + i];
      let d2 = x - normals[a + 2u * width + i];
      let d3 = x - normals[a + 3u * width + i];
      sum0 += d0 * d0;
      sum1 += d1 * d1;
      sum2 += d2 * d2;
      sum3 += d3 * d3;
    }
    let one = vec4<f32>(1.0);
    best = min(best, min(min(dot(sum0, one), dot(sum1, one)), min(dot(sum2, one), dot(sum3, one))));
  }
  results[id.x * shape.slices + id.y] = best;
}
`;

/** One layer: four outputs of one row an invocation, four strands of sums each. Sizes in vectors of four. */
export const LAYER_SHADER = /* wgsl */ `
struct Shape { rows: u32, inputs: u32, outputs: u32, isRectified: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.rows * shape.outputs) { return; }
  let row = id.x / shape.outputs;
  let o = id.x % shape.outputs;
  // Biases come first, then four vectors a pair of output and input.
  var sum0 = weights[o];
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  var w = shape.outputs + o * shape.inputs * 4u;
  for (var i = 0u; i < shape.inputs; i++) {
    let x = points[row * shape.inputs + i];
    sum0 += weights[w] * x.x;
    sum1 += weights[w + 1u] * x.y;
    sum2 += weights[w + 2u] * x.z;
    sum3 += weights[w + 3u] * x.w;
    w += 4u;
  }
  let sum = (sum0 + sum1) + (sum2 + sum3);
  results[id.x] = select(sum, max(sum, vec4<f32>(0.0)), shape.isRectified != 0u);
}
`;

/** Sum of squared differences between a point and what the autoencoder makes of it. Sizes in vectors of four. */
export const ERROR_SHADER = /* wgsl */ `
struct Shape { rows: u32, width: u32, unused0: u32, unused1: u32 }
@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> answers: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> results: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.rows) { return; }
  var sum = vec4<f32>(0.0);
  for (var i = id.x * shape.width; i < (id.x + 1u) * shape.width; i++) {
    let d = answers[i] - points[i];
    sum += d * d;
  }
  results[id.x] = dot(sum, vec4<f32>(1.0));
}
`;
