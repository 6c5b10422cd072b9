import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { sha256 } from '../crypto/index.ts';
import { loadSchema } from './load-schema.ts';
import { readTable } from './table.ts';

const folder = mkdtempSync(join(tmpdir(), 'formats-'));
after(() => rmSync(folder, { recursive: true }));

const schema = await loadSchema('kdd99');
const { columns, table } = schema.schema;
const label = table?.label ?? '';
const NAMES = [...columns.map(({ source, name }) => source ?? name), label];

/** Cells of a row that fits, by column. */
function cell(name: string, row: number): string | number {
  if (name === label) return row % 2 === 0 ? 'normal.' : 'smurf.';
  const column = columns.find((each) => (each.source ?? each.name) === name);
  if (column?.categories !== undefined) return column.categories[row % column.categories.length] ?? '';
  if (column?.type === 'boolean') return row % 2;
  const [low = 0, high = 1] = column?.range ?? [];
  return Math.min(high, low + (high <= 1 ? 0.25 : row));
}

const rows = Array.from({ length: 30 }, (_, row) => NAMES.map((name) => cell(name, row)));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('reads the same table from CSV, JSON lines and Parquet, told by their content', async () => {
  const csv = `${table?.header === false ? '' : `${NAMES.join(',')}\n`}${rows.map((row) => row.join(',')).join('\n')}\n`;
  const expected = await readTable(file('a', csv), schema);
  assert.equal(expected.rows, 30);
  const lines = rows
    .map((row) => JSON.stringify(Object.fromEntries(row.map((value, i) => [NAMES[i], value]))))
    .join('\n');
  const parquet = new Uint8Array(
    parquetWriteBuffer({
      columnData: NAMES.map((name, i) => ({
        name,
        data: rows.map((row) => row[i]),
        type: typeof rows[0]?.[i] === 'string' ? 'STRING' : 'DOUBLE',
      })),
    }),
  );
  for (const content of [lines, gzipSync(lines), parquet]) {
    const read = await readTable(file('b', content), schema);
    assert.deepEqual(read.values, expected.values);
    assert.deepEqual(read.labels, expected.labels);
    assert.deepEqual(read.typeNames, expected.typeNames);
  }
  assert.equal((await readTable(file('c', parquet), schema)).digest, sha256(parquet));
});

test('refuses what is cut, has another column, or no object, by name', async () => {
  await assert.rejects(readTable(file('d', 'PAR1 and no more of it'), schema), {
    code: 'traffic.parquet-malformed',
  });
  await assert.rejects(readTable(file('e', '{"a":1}\n'), schema), { code: 'features.table-malformed' });
  await assert.rejects(readTable(file('f', '{"a":\n'), schema), { code: 'features.table-malformed' });
});
