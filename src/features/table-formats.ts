import { type ParquetCell, ParquetFile, textLines } from '../traffic/index.ts';
import { FeatureError } from './errors.ts';

type Cells = readonly string[];

/** How cells without a value are written, and who is told the names of the columns. */
export interface NamedRows {
  /** A text that the schema takes for a missing value. */
  readonly missing: string;
  /** Called once, before the first row. */
  readonly begin: (names: readonly string[]) => void;
}

/** Rows handed out at once, at most. */
const BATCH = 4_096;

/** Rows of the bytes of a Parquet file, as a CSV would write them. Throws `traffic.parquet-malformed`. */
export async function* parquetRows(
  bytes: Uint8Array,
  path: string,
  { missing, begin }: NamedRows,
): AsyncGenerator<readonly Cells[]> {
  const file = await ParquetFile.of(bytes, path);
  try {
    const { columns } = file;
    begin(columns);
    for await (const group of file.groups(columns)) {
      const cells = columns.map((name) => group.get(name) ?? []);
      const rows = cells[0]?.length ?? 0;
      for (let from = 0; from < rows; from += BATCH) {
        const length = Math.min(BATCH, rows - from);
        yield Array.from({ length }, (_, i) => cells.map((column) => textOf(column[from + i], missing)));
      }
    }
  } finally {
    await file.close();
  }
}

/**
 * Rows of JSON lines, an object each; the first names the columns, further keys are passed over. A line that is no
 * object is a row without a cell. Throws `features.table-malformed` for the first one.
 */
export async function* jsonRows(
  chunks: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { missing, begin }: NamedRows,
): AsyncGenerator<readonly Cells[]> {
  let names: readonly string[] | undefined;
  // A line that is too long is a row that fits nothing: it is read as no object.
  for await (const lines of textLines(chunks, () => {})) {
    const rows: Cells[] = [];
    for (const line of lines) {
      if (line.trim() === '') continue;
      const row = objectOf(line);
      if (names === undefined) {
        if (row === undefined) {
          throw new FeatureError('features.table-malformed', 'line 1: expected a JSON object');
        }
        names = [...row.keys()];
        begin(names);
      }
      rows.push(row === undefined ? [] : names.map((name) => textOf(row.get(name), missing)));
    }
    yield rows;
  }
}

function objectOf(line: string): ReadonlyMap<string, ParquetCell> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return new Map(Object.entries(value).map(([name, cell]) => [name, isCell(cell) ? cell : null]));
  } catch {
    return undefined;
  }
}

function isCell(value: unknown): value is ParquetCell {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/** Flags as 1 and 0, as tables write them. */
function textOf(cell: ParquetCell | undefined, missing: string): string {
  if (cell === undefined || cell === null || Number.isNaN(cell)) return missing;
  return typeof cell === 'boolean' ? String(Number(cell)) : String(cell);
}
