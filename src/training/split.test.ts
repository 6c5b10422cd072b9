import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { type BinnedRows, encodeRows, fitBinning } from './binning.ts';
import { resolveTrainingConfig } from './config.ts';
import { histogramLength, type LeafState } from './histogram-source.ts';
import { quantizationScales } from './quantization.ts';
import { SplitFinder, type SplitLimits } from './split.ts';

const SCALES = quantizationScales(16, 1);
const LIMITS: SplitLimits = {
  ...resolveTrainingConfig(),
  minRowsPerLeaf: 3,
  categoricalL2: 1,
  categoricalSmoothing: 0,
};

interface Row {
  readonly bins: readonly number[];
  readonly g: number;
  readonly h: number;
}

/** Small random rows: a number, a number with missing values, a category. */
function draw(seed: number, rows: number, column: number) {
  const random = new SeededRandom(seed);
  const values = Float32Array.from({ length: rows }, () =>
    column === 1 && random.chance(0.3) ? Number.NaN : random.integer(0, 4),
  );
  const all = Uint32Array.from(values.keys());
  const binned = encodeRows(fitBinning(values, 1, all, [column === 2 ? 5 : 0], 256), values, 1, all);
  const rowsOf = Array.from(all, (i): Row => {
    const bins = [binned.bins[i] as number];
    return { bins, g: random.integer(-16, 16) * SCALES.gradient, h: random.integer(1, 16) * SCALES.hessian };
  });
  return { binned, rows: rowsOf, leaf: leafOf(binned, rowsOf) };
}

function leafOf({ binning }: BinnedRows, rows: readonly Row[]): LeafState {
  const histogram = new Int32Array(histogramLength(binning));
  for (const { bins, g, h } of rows) {
    const at = bins[0] as number;
    histogram[at]! += Math.round(g / SCALES.gradient);
    histogram[histogram.length / 2 + at]! += Math.round(h / SCALES.hessian);
  }
  return { rows: rows.length, histogram };
}

/** The naive twin: tries every subset of bins that the kind of column allows. */
function bruteForce(rows: readonly Row[], bins: number, isCategory: boolean): number {
  let best = 0;
  for (let subset = 1; subset < 2 ** bins - 1; subset++) {
    const isLeft = (b: number): boolean => ((subset >> b) & 1) === 1;
    if (!isCategory) {
      // Values: a prefix of bins 1, 2, ...; missing on either side.
      let falls = false;
      let broken = false;
      for (let b = 1; b < bins; b++) {
        if (!isLeft(b)) falls = true;
        else if (falls) broken = true;
      }
      if (broken || !isLeft(1)) continue;
    }
    const score = (side: readonly Row[]): number => {
      const g = side.reduce((sum, row) => sum + row.g, 0);
      const h = side.reduce((sum, row) => sum + row.h, 0);
      return (g * g) / (h + 1);
    };
    const left = rows.filter((row) => isLeft(row.bins[0] as number));
    const right = rows.filter((row) => !isLeft(row.bins[0] as number));
    // Rows of a side are estimated by its hessians.
    const share = (side: readonly Row[]): number => side.reduce((sum, row) => sum + row.h, 0);
    const least = (3 * share(rows)) / rows.length;
    if (share(left) < least || share(right) < least) continue;
    best = Math.max(best, (score(left) + score(right) - score(rows)) / 2);
  }
  return best;
}

for (const [column, what] of ['a number', 'a number with missing values', 'a category'].entries()) {
  test(`the split of ${what} is as good as the best of all`, () => {
    for (let seed = 1; seed <= 25; seed++) {
      const { binned, rows, leaf } = draw(seed, 40, column);
      const split = new SplitFinder(binned.binning, SCALES, LIMITS).find(leaf, [0]);
      const best = bruteForce(rows, binned.binning.columns[0]?.bins ?? 0, column === 2);
      const gain = split?.gain ?? 0;
      // For categories the sorted order is optimal for the unregularised gain only, so a little may be lost.
      const tolerance = column === 2 ? 0.1 * best : 1e-9;
      assert.ok(gain <= best + 1e-9 && gain >= best - tolerance, `seed ${seed}: ${gain} of ${best}`);
      if (split === undefined) continue;
      const left = rows.filter((row) => split.left[row.bins[0] as number] === 1);
      const sum = (side: readonly Row[], key: 'g' | 'h') => side.reduce((s, row) => s + row[key], 0);
      const right = rows.filter((row) => !left.includes(row));
      const score = (side: readonly Row[]) => sum(side, 'g') ** 2 / (sum(side, 'h') + 1);
      assert.ok(Math.abs((score(left) + score(right) - score(rows)) / 2 - gain) < 1e-9);
    }
  });
}

test('no split is found where both sides cannot have enough rows, nor among no columns', () => {
  const { binned, leaf } = draw(1, 40, 0);
  const strict = new SplitFinder(binned.binning, SCALES, { ...LIMITS, minRowsPerLeaf: 21 });
  assert.equal(strict.find(leaf, [0]), undefined);
  assert.equal(new SplitFinder(binned.binning, SCALES, LIMITS).find(leaf, []), undefined);
  const heavy = new SplitFinder(binned.binning, SCALES, { ...LIMITS, minHessian: 100 });
  assert.equal(heavy.find(leaf, [0]), undefined);
});

test('a penalty on gradients takes small ones for none, and what lies between bounds has no gain', () => {
  const { binned, leaf } = draw(2, 40, 0);
  const find = (limits: Partial<SplitLimits>, low?: number, high?: number) =>
    new SplitFinder(binned.binning, SCALES, { ...LIMITS, ...limits }).find(
      leaf,
      [0],
      ...(low === undefined ? [] : [{ low, high: high as number }]),
    );
  const free = find({})?.gain ?? 0;
  assert.ok(free > 0);
  assert.ok((find({ l1: 0.5 })?.gain ?? 0) < free);
  assert.equal(find({ l1: 1000 }), undefined);
  assert.ok(Math.abs((find({}, -1e9, 1e9)?.gain ?? 0) - free) < 1e-9);
  assert.equal(find({}, 0, 0), undefined);
});
