import assert from 'node:assert/strict';
import { test } from 'node:test';
import { syntheticTable } from '../../test/support/synthetic-table.ts';
import { SeededRandom } from '../base/index.ts';
import { encodeRows, fitBinning } from './binning.ts';
import { HISTOGRAM_STRIDE, HistogramBuilder, subtractHistogram } from './histogram.ts';
import { FIXED_POINT } from './objective.ts';
import { addPacked, counterHash, packGradients, quantizationScales } from './quantization.ts';

const TABLE = syntheticTable(10_000, 1);
const ALL = Uint32Array.from(TABLE.labels.keys());
const BINNED = encodeRows(fitBinning(TABLE.values, 5, ALL, [0, 0, 6, 0, 0], 64), TABLE.values, 5, ALL);
const RANDOM = new SeededRandom(2);
const G = Int32Array.from(ALL, () => Math.round(RANDOM.uniform(-1, 1) * FIXED_POINT));
const H = Int32Array.from(ALL, () => Math.round(RANDOM.uniform(0, 0.25) * FIXED_POINT));

function pack(levels: number, round = 0): Float64Array {
  const out = new Float64Array(TABLE.rows);
  packGradients(G, H, quantizationScales(levels, 1), { seed: 3, round }, out);
  return out;
}

/** The naive twin: unpacks every row and adds it up by itself. */
function directHistogram(packed: Float64Array, rows: Uint32Array): Int32Array {
  const { binning, bins } = BINNED;
  const width = binning.columns.length;
  const out = new Int32Array((binning.offsets[width] as number) * HISTOGRAM_STRIDE);
  for (const row of rows) {
    for (let f = 0; f < width; f++) {
      const at = ((binning.offsets[f] as number) + (bins[row * width + f] as number)) * HISTOGRAM_STRIDE;
      addPacked(packed[row] as number, out, at);
    }
  }
  return out;
}

function build(packed: Float64Array, rows: Uint32Array, blockRows?: number): Int32Array {
  const builder = new HistogramBuilder(BINNED, blockRows);
  const out = new Int32Array(builder.size);
  builder.build(packed, rows, 0, rows.length, out);
  return out;
}

test('histograms equal direct sums, at the coarsest and the finest quantization', () => {
  for (const levels of [2, 8, 127]) {
    const packed = pack(levels);
    const rows = ALL.filter((r) => r % 3 !== 0);
    assert.deepEqual(build(packed, rows), directHistogram(packed, rows));
  }
});

test('neither the order of the rows nor the blocks change a sum', () => {
  const packed = pack(127);
  const expected = build(packed, ALL);
  const shuffled = Uint32Array.from(new SeededRandom(4).shuffle([...ALL]));
  for (const blockRows of [1, 7, 1000, 4096, 1_000_000]) {
    assert.deepEqual(build(packed, shuffled, blockRows), expected);
  }
});

test('the sums stay exact when every row pushes the same way with full strength', () => {
  const all = Int32Array.from(ALL, () => -FIXED_POINT);
  const h = Int32Array.from(ALL, () => FIXED_POINT / 4);
  const packed = new Float64Array(TABLE.rows);
  packGradients(all, h, quantizationScales(127, 1), { seed: 1, round: 1 }, packed);
  const histogram = build(packed, ALL);
  let [g, hs, n] = [0, 0, 0];
  for (let b = 0; b < (BINNED.binning.columns[0]?.bins ?? 0); b++) {
    g += histogram[b * HISTOGRAM_STRIDE] as number;
    hs += histogram[b * HISTOGRAM_STRIDE + 1] as number;
    n += histogram[b * HISTOGRAM_STRIDE + 2] as number;
  }
  assert.deepEqual([g, hs, n], [-127 * TABLE.rows, 127 * TABLE.rows, TABLE.rows]);
});

test('the parent minus one child is the other child', () => {
  const packed = pack(64);
  const left = ALL.filter((r) => TABLE.labels[r] === 1);
  const right = ALL.filter((r) => TABLE.labels[r] === 0);
  const parent = build(packed, ALL);
  subtractHistogram(parent, build(packed, left));
  assert.deepEqual(parent, build(packed, right));
});

test('stochastic rounding keeps the mean and is the same for a row whatever is around it', () => {
  const levels = 4;
  const scales = quantizationScales(levels, 1);
  const rounds = 400;
  const sums = new Int32Array(3);
  for (let round = 0; round < rounds; round++) {
    const one = new Float64Array(1);
    packGradients(G.subarray(0, 1), H.subarray(0, 1), scales, { seed: 3, round }, one);
    addPacked(one[0] as number, sums, 0);
    if (round < 5) assert.equal(one[0], pack(levels, round)[0]);
  }
  const g = ((sums[0] as number) / rounds) * scales.gradient;
  const h = ((sums[1] as number) / rounds) * scales.hessian;
  assert.ok(Math.abs(g - (G[0] as number) / FIXED_POINT) < 0.03);
  assert.ok(Math.abs(h - (H[0] as number) / FIXED_POINT) < 0.01);
  assert.equal(sums[2], rounds);
});

test('the counter hash is even and differs by seed, round and row', () => {
  const counts = new Uint32Array(16);
  for (let row = 0; row < 16_000; row++) counts[counterHash(1, 2, row) >>> 28]! += 1;
  assert.ok(
    counts.every((n) => n > 850 && n < 1150),
    [...counts].join(),
  );
  assert.equal(
    new Set([counterHash(1, 2, 3), counterHash(2, 2, 3), counterHash(1, 3, 3), counterHash(1, 2, 4)]).size,
    4,
  );
});
