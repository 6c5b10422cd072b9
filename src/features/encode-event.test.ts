import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { checkSchema } from './check-schema.ts';
import { ColumnCodec, readValue } from './column-codec.ts';
import { encodeEvent, encodeEventInto } from './encode-event.ts';
import { checkBatch, type FeatureBatch } from './feature-batch.ts';
import { loadSchema } from './load-schema.ts';
import type { FeatureColumn } from './schema.ts';

const base = { unit: 'x', transform: 'none', invalid: 'reject', missing: 'refuse', about: 'A column.' };
const columns = [
  { ...base, name: 'size', type: 'number', transform: 'log1p', range: [0, 1000] },
  { ...base, name: 'share', type: 'number', range: [0, 1], invalid: 'clip', missing: 'keep' },
  { ...base, name: 'shift', type: 'number', range: [-1, 1], invalid: 'missing' },
  { ...base, name: 'kind', type: 'category', categories: ['tcp', 'udp'] },
  { ...base, name: 'state', type: 'category', categories: ['a', 'b'], invalid: 'missing' },
  { ...base, name: 'flag', type: 'boolean' },
];
const loaded = checkSchema({
  v: 1,
  name: 'event',
  version: 1,
  kind: 'table',
  about: 'An event.',
  sourceKinds: ['table'],
  columns,
  table: {
    header: true,
    cells: [...columns.map(({ name }) => name), 'label'],
    label: 'label',
    normal: ['0'],
    drop: [],
    missingText: [],
  },
});
const event = { size: 7, share: 0.5, shift: 0, kind: 'udp', state: 'b', flag: true };

describe('an event', () => {
  test('becomes a vector in the order of the schema', () => {
    assert.deepEqual([...encodeEvent(loaded, event)], [Math.fround(Math.log1p(7)), 0.5, 0, 1, 1, 1]);
    const out = new Float32Array(8);
    encodeEventInto(loaded, event, out, { offset: 2 });
    assert.deepEqual([...out.subarray(2)], [...encodeEvent(loaded, event)]);
  });

  test('is clipped, or loses a value, only where the schema says so', () => {
    const vector = encodeEvent(loaded, { ...event, share: 3, shift: 9, state: 'zz', flag: 0 });
    assert.deepEqual([...vector.subarray(1)], [1, Number.NaN, 1, Number.NaN, 0]);
    assert.ok(Number.isNaN(encodeEvent(loaded, { ...event, share: null })[1]));
  });

  const refused: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ['misses a column', { ...event, size: undefined }, 'features.missing-column'],
    ['holds null where a value must be', { ...event, size: null }, 'features.missing-column'],
    ['holds a key nobody knows', { ...event, other: 1 }, 'features.unknown-column'],
    ['holds NaN', { ...event, size: Number.NaN }, 'features.not-finite'],
    ['holds NaN where missing is allowed', { ...event, share: Number.NaN }, 'features.not-finite'],
    ['holds NaN where invalid means missing', { ...event, shift: Number.NaN }, 'features.not-finite'],
    ['holds Infinity', { ...event, share: Number.POSITIVE_INFINITY }, 'features.not-finite'],
    ['is out of range', { ...event, size: 1001 }, 'features.out-of-range'],
    ['is below the range', { ...event, size: -1 }, 'features.out-of-range'],
    ['has a number as text', { ...event, size: '7' }, 'features.wrong-type'],
    ['has an unknown category', { ...event, kind: 'sctp' }, 'features.unknown-category'],
    ['has a category of the prototype', { ...event, kind: 'constructor' }, 'features.unknown-category'],
    ['has an index for a category', { ...event, kind: 1 }, 'features.wrong-type'],
    ['has a flag that is no flag', { ...event, flag: 2 }, 'features.wrong-type'],
    ['has a flag as text', { ...event, flag: 'true' }, 'features.wrong-type'],
  ];
  for (const [what, value, code] of refused) {
    test(`is refused when it ${what}`, () => {
      assert.throws(() => encodeEvent(loaded, value), { code });
    });
  }

  test('is refused when a column is only inherited', () => {
    const { flag, ...rest } = event;
    const heir = Object.assign(Object.create({ flag }), rest) as Record<string, unknown>;
    assert.throws(() => encodeEvent(loaded, heir), { code: 'features.missing-column' });
  });

  test('never has its values in the message', () => {
    assert.throws(
      () => encodeEvent(loaded, { ...event, kind: 'secret-value' }),
      (error: unknown) => error instanceof Error && !error.message.includes('secret-value'),
    );
  });

  test('of a derived schema holds the text and not what is derived', async () => {
    const dga = await loadSchema('dga');
    assert.equal(encodeEvent(dga, { domain: 'example.com' }).length, dga.schema.columns.length);
    assert.throws(() => encodeEvent(dga, { domain: 7 }), { code: 'features.wrong-type' });
    assert.throws(() => encodeEvent(dga, { length: 7 }), { code: 'features.unknown-column' });
  });
});

describe('a column', () => {
  const codec = (name: string) => new ColumnCodec(columnOf(name));
  const columnOf = (name: string) => loaded.schema.columns.find((one) => one.name === name) as FeatureColumn;

  test('reads decimal numbers and no other writing', () => {
    const size = codec('size');
    for (const text of ['7', '+7', '7.0', '.7e1', '70E-1', '007']) {
      assert.equal(size.fromText(text), Math.log1p(7), text);
      assert.equal(size.problem, undefined);
    }
    for (const text of ['', ' 7', '7 ', '0x7', '7,0', 'NaN', 'inf', 'Infinity', '1e999', '.', '7e', '1_0']) {
      assert.ok(Number.isNaN(size.fromText(text)), text);
      assert.equal(size.problem, 'features.not-finite');
    }
  });

  test('forgets the problem of the value before', () => {
    const flag = codec('flag');
    flag.fromText('maybe');
    assert.equal(flag.problem, 'features.wrong-type');
    flag.fromText('true');
    assert.equal(flag.problem, undefined);
    flag.fromNothing();
    assert.equal(flag.problem, 'features.missing-value');
  });

  test('gives back what went in', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1000, noNaN: true }), (value) => {
        const back = readValue(columnOf('size'), codec('size').fromNumber(value));
        assert.ok(Math.abs(Number(back) - value) <= 1e-9 * (1 + value));
      }),
    );
    assert.equal(readValue(columnOf('kind'), 1), 'udp');
    assert.equal(readValue(columnOf('flag'), 0), false);
    assert.equal(readValue(columnOf('share'), 0.5), 0.5);
    assert.equal(readValue(columnOf('share'), Number.NaN), undefined);
  });
});

describe('a feature batch', () => {
  const vector = encodeEvent(loaded, event);
  const batch: FeatureBatch = {
    schemaId: loaded.id,
    sourceKind: 'table',
    rows: 1,
    columns: 6,
    values: vector,
    rejected: [],
  };
  const changed = (at: number, value: number) => ({ ...batch, values: vector.with(at, value) });

  test('is accepted as the encoder makes it', () => {
    checkBatch(batch, loaded);
    checkBatch(changed(1, Number.NaN), loaded);
    checkBatch(changed(4, Number.NaN), loaded);
    checkBatch(
      { ...changed(0, Number.NaN), rejected: [{ row: 0, code: 'features.not-finite', column: 'size' }] },
      loaded,
    );
  });

  const bad: readonly (readonly [string, FeatureBatch])[] = [
    ['names another schema', { ...batch, schemaId: 'sha256:00' }],
    ['names another source kind', { ...batch, sourceKind: 'zeek' }],
    ['has another width', { ...batch, columns: 5 }],
    ['lacks values', { ...batch, rows: 2 }],
    ['has no whole number of rows', { ...batch, rows: 0.5 }],
    [
      'rejects a row it does not have',
      { ...batch, rejected: [{ row: 1, code: 'features.not-finite', column: '' }] },
    ],
    ['misses a value that must be', changed(0, Number.NaN)],
    ['holds Infinity', changed(0, Number.POSITIVE_INFINITY)],
    ['holds a category beyond the list', changed(3, 2)],
    ['holds half a category', changed(3, 0.5)],
    ['holds a flag of 2', changed(5, 2)],
  ];
  for (const [what, value] of bad) {
    test(`is refused when it ${what}`, () => {
      assert.throws(() => checkBatch(value, loaded), { code: 'features.batch-malformed' });
    });
  }
});
