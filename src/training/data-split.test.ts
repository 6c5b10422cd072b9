import assert from 'node:assert/strict';
import { test } from 'node:test';
import { syntheticTable } from '../../test/support/synthetic-table.ts';
import { distinctRows, limitAttackTypes, splitByTime, splitStratified } from './data-split.ts';
import { TrainingError } from './errors.ts';
import { joinTables, type LabelledTable, selectRows } from './labelled-table.ts';

const TABLE = syntheticTable(2000, 1);
const ALL = Uint32Array.from(TABLE.labels.keys());
const SHARES = { validation: 0.1, calibration: 0.2 };

test('a stratified split keeps the shares of every type, covers all rows once, and follows the seed', () => {
  const split = splitStratified(TABLE, ALL, SHARES, 5);
  const parts = [split.train, split.validation, split.calibration];
  assert.deepEqual(
    parts.flatMap((part) => [...part]).sort((a, b) => a - b),
    [...ALL],
  );
  for (const type of [0, 1, 2]) {
    const count = (rows: Uint32Array) => rows.filter((r) => TABLE.typeIndex[r] === type).length;
    assert.equal(count(split.validation), Math.floor(count(ALL) * 0.1));
    assert.equal(count(split.calibration), Math.floor(count(ALL) * 0.2));
  }
  assert.deepEqual(splitStratified(TABLE, ALL, SHARES, 5), split);
  assert.notDeepEqual(splitStratified(TABLE, ALL, SHARES, 6), split);
});

test('a split by time holds the latest rows out', () => {
  const times = Float64Array.from(ALL, (r) => (r * 7919) % 2000);
  const { train, validation, calibration } = splitByTime(ALL, SHARES, times);
  const span = (rows: Uint32Array) => {
    const own = [...rows].map((r) => times[r] as number);
    return [Math.min(...own), Math.max(...own)];
  };
  assert.deepEqual([train, validation, calibration].map(span), [
    [0, 1399],
    [1400, 1599],
    [1600, 1999],
  ]);
  assert.deepEqual([...splitByTime(ALL, SHARES).calibration], [...ALL.slice(1600)]);
});

test('equal rows count once, missing equals missing, and contradicting labels both stay', () => {
  const table: LabelledTable = {
    rows: 5,
    columns: 2,
    values: Float32Array.of(1, Number.NaN, 1, 2, 1, Number.NaN, 1, 2, 1, Number.NaN),
    labels: Uint8Array.of(0, 0, 0, 1, 0),
    typeIndex: Uint16Array.of(0, 0, 0, 1, 0),
    typeNames: ['benign', 'a'],
  };
  assert.deepEqual([...distinctRows(table)], [0, 1, 3]);
  const doubled = selectRows(TABLE, [...ALL, ...ALL]);
  assert.deepEqual([...distinctRows(doubled)], [...ALL]);
});

test('attack types are capped by a seeded draw and benign rows stay', () => {
  const rows = limitAttackTypes(TABLE, ALL, 50, 3);
  const count = (type: number) => rows.filter((r) => TABLE.typeIndex[r] === type).length;
  assert.equal(count(0), ALL.filter((r) => TABLE.typeIndex[r] === 0).length);
  assert.equal(count(1), 50);
  assert.equal(count(2), 50);
  assert.deepEqual(limitAttackTypes(TABLE, ALL, 50, 3), rows);
});

test('selected rows carry weights and times along', () => {
  const weights = Float32Array.from(ALL, (r) => r);
  const times = Float64Array.from(ALL, (r) => -r);
  const some = selectRows({ ...TABLE, weights, times }, [3, 1]);
  assert.deepEqual([...(some.weights ?? [])], [3, 1]);
  assert.deepEqual([...(some.times ?? [])], [-3, -1]);
  assert.deepEqual(some.values.subarray(5, 10), TABLE.values.subarray(5, 10));
});

test('joined tables keep their rows, and types of one name become one', () => {
  const even = selectRows(TABLE, [0, 2, 4]);
  const other = { ...selectRows(TABLE, [1, 3]), typeNames: ['benign', 'tunnel', 'flood'] };
  const joined = joinTables([even, other]);
  assert.equal(joined.rows, 5);
  assert.deepEqual(joined.typeNames, ['benign', 'flood', 'tunnel']);
  const names = (table: LabelledTable) => [...table.typeIndex].map((type) => table.typeNames[type]);
  assert.deepEqual(names(joined), [...names(even), ...names(other)]);
  assert.deepEqual(joined.values.subarray(15), other.values);
  assert.notEqual(joined.digest, TABLE.digest);
  const { digest: _, ...anonymous } = even;
  assert.equal(joinTables([anonymous, other]).digest, undefined);
  const timed = { ...even, times: Float64Array.of(1, 2, 3), weights: Float32Array.of(1, 2, 3) };
  assert.deepEqual([...(joinTables([timed, timed]).times ?? [])], [1, 2, 3, 1, 2, 3]);
  assert.equal(joinTables([timed, even]).weights, undefined);
  assert.throws(() => joinTables([]), TrainingError);
  assert.throws(() => joinTables([even, { ...even, columns: 1 }]), TrainingError);
});
