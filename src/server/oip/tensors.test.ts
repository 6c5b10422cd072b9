import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type LoadedSchema, loadSchema } from '../../features/index.ts';
import { readShape, valuesFromBytes, valuesFromList } from './tensors.ts';

const loaded = await loadSchema('flow-core');
const { columns } = loaded.schema;
const width = columns.length;

/** The rules of a value as they read: each one on its own, nothing prepared. */
function naiveCode(value: unknown, column: LoadedSchema['schema']['columns'][number]): string {
  if (value === null || Number.isNaN(value)) {
    return column.missing === 'keep' || column.invalid === 'missing' ? 'good' : 'features.missing-value';
  }
  if (typeof value !== 'number') return 'server.tensor-invalid';
  if (!Number.isFinite(Math.fround(value))) return 'features.not-finite';
  if (column.type === 'number') return 'good';
  const top = column.type === 'boolean' ? 1 : (column.categories?.length ?? 0) - 1;
  return Number.isInteger(value) && value >= 0 && value <= top ? 'good' : 'features.unknown-category';
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'good';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const bytesOf = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);

suite('tensors', () => {
  test('take and refuse each value as the schema says, as a list and as bytes', () => {
    const odd = fc.oneof(
      fc.constantFrom<unknown>(0, 1, -1, 0.5, 2, 99, 1e39, -1e39, null, 'x', true, [], {}, -0),
      fc.double({ noNaN: true }),
    );
    fc.assert(
      fc.property(fc.nat(width - 1), odd, fc.boolean(), (c, value, nested) => {
        const row = new Array<unknown>(width).fill(0);
        row[c] = value;
        const expected = naiveCode(value, columns[c] as (typeof columns)[number]);
        assert.equal(
          codeOf(() => valuesFromList(nested ? [row] : row, 1, loaded)),
          expected,
        );
        if (typeof value !== 'number') return;
        const narrow = Math.fround(value);
        assert.equal(
          codeOf(() => valuesFromBytes(bytesOf(row as number[]), 1, loaded)),
          naiveCode(narrow, columns[c] as (typeof columns)[number]),
        );
      }),
      { seed: 7, numRuns: 1_000 },
    );
  });

  test('are a view of aligned bytes, and one copy of others', () => {
    const values = Array.from({ length: 2 * width }, () => 0);
    const aligned = bytesOf(values);
    assert.equal(valuesFromBytes(aligned, 2, loaded).buffer, aligned.buffer);
    const shifted = new Uint8Array(aligned.length + 1).subarray(1);
    shifted.set(aligned);
    const copy = valuesFromBytes(shifted, 2, loaded);
    assert.notEqual(copy.buffer, shifted.buffer);
    assert.deepEqual([...copy], values);
  });

  test('keep NaN in bytes and null in a list as missing', () => {
    const c = columns.findIndex(({ missing, invalid }) => missing === 'keep' || invalid === 'missing');
    const row: (number | null)[] = new Array<number>(width).fill(0);
    row[c] = null;
    assert.ok(Number.isNaN(valuesFromList(row, 1, loaded)[c]));
    const bytes = bytesOf(row.map((value) => value ?? Number.NaN));
    assert.ok(Number.isNaN(valuesFromBytes(bytes, 1, loaded)[c]));
  });

  test('are refused where their length or shape is another', () => {
    const shapes: unknown[] = [
      [1],
      [1, width - 1],
      [1, width, 1],
      [-1, width],
      [0.5, width],
      ['1', width],
      1,
      null,
    ];
    for (const shape of shapes) {
      const declared = { name: 'features', datatype: 'FP32', shape };
      assert.equal(
        codeOf(() => readShape(declared, width)),
        'server.tensor-invalid',
        JSON.stringify(shape),
      );
    }
    const many = { name: 'features', datatype: 'FP32', shape: [10_001, width] };
    assert.equal(
      codeOf(() => readShape(many, width)),
      'server.too-many-rows',
    );
    assert.equal(readShape({ ...many, shape: [0, width] }, width), 0);
    for (const list of [[], new Array(width + 1).fill(0), [[0]], [new Array(width).fill(0), 0], 'x', null]) {
      assert.equal(
        codeOf(() => valuesFromList(list, 1, loaded)),
        'server.tensor-invalid',
      );
    }
    for (const length of [0, 1, width * 4 - 1, width * 4 + 1]) {
      assert.equal(
        codeOf(() => valuesFromBytes(new Uint8Array(length), 1, loaded)),
        'server.tensor-invalid',
      );
    }
  });
});
