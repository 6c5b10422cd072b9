import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { requireData } from '../../test/support/requires.ts';
import { sha256 } from '../crypto/index.ts';
import { checkSchema } from './check-schema.ts';
import { readValue } from './column-codec.ts';
import { FeatureError } from './errors.ts';
import { loadSchema } from './load-schema.ts';
import type { FeatureColumn } from './schema.ts';
import { readTable, type Table, type TableOptions } from './table.ts';

const base = { unit: 'x', transform: 'none', invalid: 'reject', missing: 'refuse', about: 'A column.' };
const loaded = checkSchema({
  v: 1,
  name: 'small',
  version: 1,
  kind: 'table',
  about: 'A small table.',
  sourceKinds: ['table'],
  columns: [
    { ...base, name: 'size', type: 'number', range: [0, 100] },
    { ...base, name: 'kind', type: 'category', categories: ['tcp', 'udp'] },
    { ...base, name: 'load', type: 'number', range: [0, 1], missing: 'keep' },
  ],
  table: {
    header: true,
    cells: ['id', 't', 'size', 'kind', 'load', 'type', 'label'],
    label: 'label',
    normal: ['0'],
    attack: ['1'],
    attackType: 'type',
    drop: ['id'],
    timeColumn: 't',
    missingText: ['', '-'],
  },
});
const HEADER = 'id,t,size,kind,load,type,label';
const ROWS = ['1,10,5,tcp,0.5,Normal,0', '2,11,6,udp,-,DoS,1', '3,12,7,tcp,,"Worm, big",1'];

describe('reading a table', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'guardian-table-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function read(content: string | Uint8Array, options: Partial<TableOptions> = {}): Promise<Table> {
    const path = join(folder, 'table.csv');
    await writeFile(path, content);
    return readTable(path, loaded, options);
  }

  test('gives values, labels, types, times and the digest of the bytes', async () => {
    const content = `${HEADER}\n${ROWS.join('\n')}\n`;
    const table = await read(content);
    assert.deepEqual([table.rows, table.columns, table.columnNames], [3, 3, ['size', 'kind', 'load']]);
    assert.deepEqual([...table.values], [5, 0, 0.5, 6, 1, Number.NaN, 7, 0, Number.NaN]);
    assert.deepEqual([...table.labels], [0, 1, 1]);
    assert.deepEqual([...table.typeIndex], [0, 1, 2]);
    assert.deepEqual(table.typeNames, ['benign', 'DoS', 'Worm, big']);
    assert.deepEqual([...(table.times ?? [])], [10, 11, 12]);
    assert.equal(table.digest, sha256(content));
    assert.equal(table.schemaId, loaded.id);
    assert.deepEqual(table.counters, { read: 3, accepted: 3, rejected: 0, reasons: {}, examples: [] });
  });

  test('does not care for gzip, CRLF, a BOM or the order of columns', async () => {
    const plain = await read(`${HEADER}\n${ROWS.join('\n')}\n`);
    const zipped = await read(gzipSync(`${HEADER}\n${ROWS.join('\n')}\n`));
    assert.deepEqual(zipped, plain);
    const windows = await read(`\uFEFF${HEADER}\r\n${ROWS.join('\r\n')}`);
    assert.deepEqual(windows.values, plain.values);
    const turned = await read('label,type,load,kind,size,t,more\n0,Normal,0.5,tcp,5,10,x\n');
    assert.deepEqual([...turned.values], [5, 0, 0.5]);
  });

  test('grows with the file', async () => {
    const rows = Array.from({ length: 5000 }, (_, i) => `${i},${i},${i % 100},udp,0.25,A${i % 3},1`);
    const table = await read([HEADER, ...rows].join('\n'));
    assert.equal(table.rows, 5000);
    assert.equal(table.values[4999 * 3], 99);
    assert.equal(table.times?.[4999], 4999);
  });

  test('counts the rows it leaves out by reason and column', async () => {
    const bad = [
      '4,13,500,tcp,0.5,Normal,0',
      '5,14,x,tcp,0.5,Normal,0',
      '6,15,,tcp,0.5,Normal,0',
      '7,16,1,sctp,0.5,Normal,0',
      '8,17,1,tcp,0.5,Normal,2',
      '9,never,1,tcp,0.5,Normal,0',
      '9,17,1,tcp',
    ];
    const good = Array.from({ length: 20 }, () => ROWS[0]);
    const { counters, rows } = await read([HEADER, ...bad, ...good].join('\n'));
    assert.equal(rows, 20);
    assert.deepEqual(counters.reasons, {
      'features.out-of-range size': 1,
      'features.not-finite size': 1,
      'features.missing-value size': 1,
      'features.unknown-category kind': 1,
      'features.label-invalid label': 1,
      'features.not-finite t': 1,
      'features.row-width ': 1,
    });
    assert.deepEqual([counters.read, counters.accepted, counters.rejected], [27, 20, 7]);
    assert.deepEqual(counters.examples[0], { row: 2, code: 'features.out-of-range', column: 'size' });
    assert.equal(counters.examples.length, 5);
  });

  test('stops at a file with too many bad rows and names the first line', async () => {
    const rows = Array.from({ length: 2000 }, (_, i) => (i % 2 ? ROWS[0] : '4,13,500,tcp,0.5,Normal,0'));
    await assert.rejects(
      read([HEADER, ...rows].join('\n')),
      (error: unknown) =>
        error instanceof FeatureError &&
        error.code === 'features.table-malformed' &&
        /first is line 2, column size: features.out-of-range/.test(error.message),
    );
    await assert.rejects(read(`${HEADER}\n1,2,3\n`), { code: 'features.table-malformed' });
  });

  const refused: readonly (readonly [string, string, string, Partial<TableOptions>])[] = [
    ['lacks a column', 'id,t,size,kind,type,label\n', 'features.table-malformed', {}],
    ['is empty', '', 'features.table-malformed', {}],
    ['has only a header', `${HEADER}\n`, 'features.table-malformed', {}],
    ['has more rows than allowed', [HEADER, ...ROWS].join('\n'), 'features.table-too-large', { maxRows: 2 }],
    [
      'has more values than allowed',
      [HEADER, ...Array.from({ length: 1100 }, () => ROWS[0])].join('\n'),
      'features.table-too-large',
      { maxValues: 3200 },
    ],
  ];
  for (const [what, content, code, options] of refused) {
    test(`refuses a file that ${what}`, async () => {
      await assert.rejects(read(content, options), { code });
    });
  }

  test('refuses a gzip at each length it may be cut to', async () => {
    const whole = gzipSync(`${HEADER}\n${ROWS.join('\n')}\n`);
    for (let length = 0; length < whole.length; length++) {
      await assert.rejects(read(whole.subarray(0, length)), FeatureError, `cut to ${length}`);
    }
  });

  test('refuses a file that is not there, a schema of flows, and stops when told', async () => {
    await assert.rejects(readTable(join(folder, 'no.csv'), loaded), { code: 'features.table-unreadable' });
    await assert.rejects(readTable(folder, loaded), { code: 'features.table-unreadable' });
    const flows = await loadSchema('flow-core');
    await assert.rejects(readTable(folder, flows), { code: 'features.schema-unsupported' });
    await assert.rejects(read([HEADER, ...ROWS].join('\n'), { signal: AbortSignal.abort() }), {
      name: 'AbortError',
    });
  });

  test('takes the label of a list of names from the caller', async () => {
    const dga = await loadSchema('dga');
    const path = join(folder, 'names.txt');
    await writeFile(path, 'kq0qw6o2siwq.org\nufmkdjyvfkl.com\n');
    const attack = await readTable(path, dga, { label: 'gozi' });
    assert.deepEqual([...attack.labels], [1, 1]);
    assert.deepEqual(attack.typeNames, ['benign', 'gozi']);
    const normal = await readTable(path, dga, { label: 'legit' });
    assert.deepEqual([...normal.labels], [0, 0]);
    await assert.rejects(readTable(path, dga), { code: 'features.table-malformed' });
  });
});

describe('the public data sets', () => {
  const sets: readonly (readonly [string, string, number, number, number, string, string?])[] = [
    ['nsl-kdd', 'nsl-kdd/KDDTrain+.txt.gz', 125_973, 58_630, 23, '1b86d2f957b33082'],
    ['nsl-kdd', 'nsl-kdd/KDDTest+.txt.gz', 22_544, 12_833, 38, 'fa46b0935342616a'],
    ['kdd99', 'kdd99-10pct/corrected.gz', 311_029, 250_436, 38, '547dfb9c0f0dc1d9'],
    ['unsw-nb15', 'unsw-nb15-82k/UNSW_NB15_82332.csv.gz', 82_332, 45_332, 10, '734fe6642edf758f'],
    [
      'nf-bot-iot-v2',
      'nf-bot-iot-v2-reduced/nf_bot_iot_v2_reduced.csv.gz',
      278_781,
      277_496,
      5,
      'f955bb79c183b8c4',
    ],
    ['sdn-ddos', 'sdn-ddos/dataset_sdn.csv.gz', 104_345, 40_784, 2, 'e0d9fa511e57b849'],
    ['dga', 'dga-domains/dga_domains_sample.csv.gz', 10_000, 4981, 26, '8e6ed2cce7cf9230'],
    ['dga', 'dga-domains/ndpi_test_dga.csv.gz', 33_746, 33_746, 2, '36ed436a7f700b8d', 'dga'],
    ['dga', 'dga-domains/ndpi_test_non_dga.csv.gz', 33_740, 0, 1, '1690ed1a5d7ef5f5', 'legit'],
  ];
  for (const [name, file, rows, attacks, types, digest, label] of sets) {
    test(`${file} is read whole`, async (t) => {
      const path = requireData(t, file);
      if (path === undefined) return;
      const table = await readTable(path, await loadSchema(name), label === undefined ? {} : { label });
      assert.deepEqual([table.rows, table.counters.rejected, table.typeNames.length], [rows, 0, types]);
      assert.equal(
        table.labels.reduce((sum, one) => sum + one, 0),
        attacks,
      );
      assert.ok(table.digest.startsWith(`sha256:${digest}`));
      assert.ok(table.values.every((value) => !Number.isNaN(value)) || name === 'sdn-ddos');
      assert.equal(table.times?.length, name === 'sdn-ddos' ? rows : undefined);
    });
  }

  test('the first row of KDDTrain+ reads back as it stands in the file', async (t) => {
    const path = requireData(t, 'nsl-kdd/KDDTrain+_20Percent.txt.gz');
    if (path === undefined) return;
    const { schema, id } = await loadSchema('nsl-kdd');
    const table = await readTable(path, { schema, id });
    const first = schema.columns.map((column: FeatureColumn, c) =>
      readValue(column, table.values[c] ?? Number.NaN),
    );
    assert.deepEqual(first.slice(1, 4), ['tcp', 'ftp_data', 'SF']);
    assert.ok(Math.abs(Number(first[4]) - 491) < 0.01);
    assert.ok(Math.abs(Number(first[32]) - 25) < 0.01);
    assert.equal(table.typeNames[table.typeIndex[0] ?? 0], 'benign');
  });
});
