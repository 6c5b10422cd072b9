import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layOut } from '../binning.ts';
import { FIXED_POINT } from '../objective.ts';
import { writeExacts, writeSums } from './answer.ts';
import type { MemberOperation } from './member-request.ts';
import { planColumns, type RunPlan } from './run-plan.ts';
import { SumBounds } from './sum-bounds.ts';

const BINNING = layOut([
  { column: 0, bins: 3, cuts: Float32Array.of(0) },
  { column: 1, bins: 4, cuts: Float32Array.of(0, 1) },
]);
const PLAN: RunPlan = {
  ...{ v: 1, run: 'run-1', columns: planColumns(BINNING), outputs: 1, bias: [0], maxWeight: 2 },
  ...{ gradientLevels: 15, maxLeaves: 8, rowFraction: 1, seed: 1, rows: 30, heldRows: 0, minCellRows: 1 },
};
const GROUP = ['a', 'b'];
const OPEN: MemberOperation = { kind: 'open-tree', output: 0, features: [1] };
const DIVIDE: MemberOperation = { kind: 'divide', splits: [{ leaf: 0, right: 1, feature: 1, left: '' }] };
const CLOSE: MemberOperation = { kind: 'close-tree', splits: [] };

const make = () => new SumBounds(PLAN, { a: 10, b: 10, c: 10 });
const OUT = { code: 'training.aggregation-out-of-range' };

/** One leaf of column 1: four gradients, four hessians, rows. */
const leaf = (change: Readonly<Record<number, number>> = {}) => {
  const vector = Int32Array.of(300, -300, 0, 5, 300, 0, 0, 2, 20);
  for (const [at, value] of Object.entries(change)) vector[Number(at)] = value;
  return vector;
};

test('histograms of the rows of a group pass, to the last level', () => {
  const bounds = make();
  bounds.check(OPEN, leaf(), GROUP);
  bounds.check(DIVIDE, Int32Array.of(...leaf({ 8: 20 }), ...leaf({ 8: 20 })), GROUP);
  bounds.check(OPEN, leaf({ 8: 30 }), ['a', 'b', 'c']);
});

for (const [what, change] of [
  ['more rows than the group has', { 8: 21 }],
  ['rows below none', { 8: -1 }],
  ['a gradient beyond the clip of the rows', { 0: 301 }],
  ['a gradient below it', { 1: -301 }],
  ['a hessian beyond it', { 4: 301 }],
  ['a hessian below nothing', { 7: -1 }],
  ['a gradient of fewer rows', { 8: 19 }],
] as const) {
  test(`a histogram with ${what} is refused, whichever leaf it is in`, () => {
    const bounds = make();
    assert.throws(() => bounds.check(OPEN, leaf(change), GROUP), OUT);
    const two = Int32Array.of(...leaf(), ...leaf(change));
    assert.throws(() => bounds.check(DIVIDE, two, GROUP), OUT);
  });
}

test('exact sums of leaves are held to their rows, and all leaves to the group', () => {
  const check = (sums: Parameters<typeof writeSums>[0]) => {
    const vector = new Int32Array(5 * sums.length);
    writeSums(sums, vector);
    make().check(CLOSE, vector, GROUP);
  };
  const [gradient, hessian] = [2 * 12 * FIXED_POINT, 6 * FIXED_POINT];
  const whole = { rows: 12, gradient, hessian };
  check([whole, { rows: 8, gradient: -16 * FIXED_POINT, hessian: 0 }]);
  assert.throws(() => check([whole, { rows: 9, gradient: 0, hessian: 0 }]), OUT);
  assert.throws(() => check([{ ...whole, gradient: gradient + 7 }]), OUT);
  assert.throws(() => check([{ ...whole, gradient: -gradient - 7 }]), OUT);
  assert.throws(() => check([{ ...whole, hessian: hessian + 7 }]), OUT);
  assert.throws(() => check([{ ...whole, hessian: -1 }]), OUT);
});

test('weights of classes are held to the weight of all rows', () => {
  const check = (weights: readonly number[]) => {
    const vector = new Int32Array(2 * weights.length);
    writeExacts(weights, vector);
    make().check({ kind: 'labels' }, vector, GROUP);
  };
  check([30 * FIXED_POINT, 10 * FIXED_POINT]);
  assert.throws(() => check([31 * FIXED_POINT, 10 * FIXED_POINT]), OUT);
  assert.throws(() => check([-1, 0]), OUT);
});
