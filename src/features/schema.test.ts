import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { checkSchema, parseSchema } from './check-schema.ts';
import { loadSchema, PACKAGED_SCHEMAS } from './load-schema.ts';
import { schemaBytes, schemaDigest } from './schema.ts';
import { SCHEMA_LIMITS } from './schema-limits.ts';

/**
 * The digest of each shipped schema. Models are bound to it: who changes a schema raises its version, and a
 * model of the old one has to be trained again. So a change here is a decision and never a side effect.
 */
const SHIPPED: Readonly<Record<string, readonly [version: number, digest: string]>> = {
  'flow-core': [1, 'sha256:4c43fcec203d4a4894bffaef4ae84c0f773111e54b9d0ac10f83633a2e7fded4'],
  'nsl-kdd': [1, 'sha256:d62b66e5950eb2a1ba9681f4e722b47eeb94439cc4a285b9b09b973978b2f07a'],
  kdd99: [1, 'sha256:550886c51a2026c78925cda0a68ad1dc8fe510977256273a53391d04b848c3bc'],
  'unsw-nb15': [1, 'sha256:e13893683f294098ffe05d5230ff807052178b5e34aa3dad063253e7aabf604c'],
  'nf-bot-iot-v2': [1, 'sha256:71825476b1f779b7b63dcc2681c86a72ffadcb7fc9d731fefa61133bbd5fd25f'],
  'sdn-ddos': [1, 'sha256:9906496f11ecdc8a2f07ffb0cf05f186cfc0d52201bcd9620043e96032e6f7e6'],
  flow: [1, 'sha256:c85daea014f43a515bad15b105cccfa998fc1715a5f66ba1f65d3a5ee4c08de7'],
  dga: [1, 'sha256:f1b03cc23d34a868d44eb9ed083f13f2a65158447b99200784d157a753c95de6'],
};

const column = {
  name: 'a',
  type: 'number',
  unit: 'bytes',
  transform: 'none',
  range: [0, 1],
  invalid: 'reject',
  missing: 'refuse',
  about: 'A.',
};
const table = {
  header: false,
  cells: ['a', 'label'],
  label: 'label',
  normal: ['n'],
  drop: [],
  missingText: [],
};
const good = {
  v: 1,
  name: 'x',
  version: 1,
  kind: 'table',
  about: 'X.',
  sourceKinds: ['table'],
  columns: [column],
  table,
};
const sliding = {
  kind: 'sliding',
  bucketMs: 2500,
  hosts: 8,
  pairs: 8,
  services: 8,
  destinationServices: 8,
  sketches: 2,
};
const windows = { connections: 100, shortMs: 2000, longMs: 60_000, intervals: 32, historyFlows: 100 };

describe('a feature schema', () => {
  test('is shipped with the digest and version that models are bound to', async () => {
    const files = await readdir(new URL('../../schemas', import.meta.url));
    assert.deepEqual(files.sort(), PACKAGED_SCHEMAS.map((name) => `${name}.json`).sort());
    for (const name of PACKAGED_SCHEMAS) {
      const { schema, id } = await loadSchema(name);
      // Loading takes packaged schemas as they are.
      assert.deepEqual({ schema, id }, checkSchema(schema));
      assert.deepEqual([name, schema.name, schema.version, id], [name, name, ...(SHIPPED[name] ?? [])]);
    }
  });

  test('is named by its content and not by its form', async () => {
    const text = await readFile(new URL('../../schemas/nsl-kdd.json', import.meta.url), 'utf8');
    const reversed = Object.fromEntries(Object.entries(JSON.parse(text)).reverse());
    const { id, schema } = parseSchema(JSON.stringify(reversed));
    assert.equal(id, (await loadSchema('nsl-kdd')).id);
    assert.equal(schemaDigest(schema), id);
    assert.equal(parseSchema(schemaBytes(schema)).id, id);
  });

  test('cannot be changed once it is loaded', async () => {
    const { schema } = await loadSchema('dga');
    assert.throws(() => Object.assign(schema.columns[0] ?? {}, { name: 'b' }), TypeError);
  });

  const bad: readonly (readonly [string, unknown])[] = [
    ['is no object', []],
    ['has an unknown key', { ...good, extra: 1 }],
    ['has another format version', { ...good, v: 3 }],
    ['imputes in version 1', { ...good, columns: [{ ...column, missing: 'impute' }] }],
    [
      'has sliding windows in version 1',
      { ...good, kind: 'flows', table: undefined, windows: sliding, columns: [column] },
    ],
    ['has a name that could be a path', { ...good, name: '../x' }],
    ['has no columns', { ...good, columns: [] }],
    ['has version 0', { ...good, version: 0 }],
    ['names a column twice', { ...good, columns: [column, column] }],
    ['has an unknown key in a column', { ...good, columns: [{ ...column, extra: 1 }] }],
    ['has an unknown transform', { ...good, columns: [{ ...column, transform: 'sqrt' }] }],
    ['has a range upside down', { ...good, columns: [{ ...column, range: [1, 0] }] }],
    ['has a number without a range', { ...good, columns: [{ ...column, range: undefined }] }],
    ['takes log1p of -1', { ...good, columns: [{ ...column, transform: 'log1p', range: [-1, 1] }] }],
    ['has categories on a number', { ...good, columns: [{ ...column, categories: ['a'] }] }],
    [
      'has a category twice',
      { ...good, columns: [{ ...column, type: 'category', range: undefined, categories: ['a', 'a'] }] },
    ],
    [
      'has a category column without categories',
      { ...good, columns: [{ ...column, type: 'category', range: undefined }] },
    ],
    [
      'transforms a flag',
      { ...good, columns: [{ ...column, type: 'boolean', range: undefined, transform: 'log1p' }] },
    ],
    ['has a range on a flag', { ...good, columns: [{ ...column, type: 'boolean' }] }],
    [
      'clips a flag',
      { ...good, columns: [{ ...column, type: 'boolean', range: undefined, invalid: 'clip' }] },
    ],
    ['derives from no text', { ...good, columns: [{ ...column, transform: 'length' }] }],
    [
      'is absent in a strange source kind',
      { ...good, columns: [{ ...column, missing: 'keep', absentIn: ['zeek'] }] },
    ],
    [
      'refuses missing values where they must miss',
      { ...good, columns: [{ ...column, absentIn: ['table'] }] },
    ],
    ['is a table without a table section', { ...good, table: undefined }],
    ['is a table with windows', { ...good, windows }],
    ['is of flows without windows', { ...good, kind: 'flows', table: undefined }],
    [
      'remembers too many flows',
      { ...good, kind: 'flows', table: undefined, windows: { ...windows, historyFlows: 1e9 } },
    ],
    ['has a label that is no cell', { ...good, table: { ...table, label: 'b' } }],
    ['has a feature that is no cell', { ...good, columns: [{ ...column, name: 'b' }] }],
    ['has its label as a feature', { ...good, columns: [column, { ...column, name: 'label' }] }],
    ['leaves a cell unexplained', { ...good, table: { ...table, cells: ['a', 'label', 'c'] } }],
    ['names a cell twice', { ...good, table: { ...table, cells: ['a', 'a', 'label'] } }],
    ['drops a feature', { ...good, table: { ...table, drop: ['a'] } }],
    [
      'has too many columns',
      {
        ...good,
        columns: Array.from({ length: SCHEMA_LIMITS.columns + 1 }, (_, i) => ({ ...column, name: `c${i}` })),
      },
    ],
  ];
  for (const [what, value] of bad) {
    test(`is refused when it ${what}`, () => {
      assert.throws(() => checkSchema(value), { code: 'features.schema-malformed' });
    });
  }

  test('is accepted as the table above starts from', () => {
    assert.equal(checkSchema(good).schema.columns.length, 1);
  });

  test('is refused when its file is no JSON, too large, or not there', async (t) => {
    assert.throws(() => parseSchema('{'), { code: 'features.schema-malformed' });
    const path = join(tmpdir(), `guardian-schema-${process.pid}.json`);
    t.after(() => import('node:fs/promises').then(({ rm }) => rm(path, { force: true })));
    await writeFile(path, JSON.stringify(good));
    assert.equal((await loadSchema(path)).schema.name, 'x');
    await writeFile(path, ' '.repeat(SCHEMA_LIMITS.fileBytes + 1));
    await assert.rejects(loadSchema(path), { code: 'features.schema-malformed' });
    for (const name of ['nowhere', '../schemas/dga', 'NSL-KDD', './nowhere.json', '']) {
      await assert.rejects(loadSchema(name), { code: 'features.schema-unknown' });
    }
  });
});
