import type { Digest } from '../base/index.ts';
import { isParquet, readCsvRows } from '../traffic/index.ts';
import { FeatureError } from './errors.ts';
import { HashedFile } from './hashed-file.ts';
import { RejectCounts, type RejectExample } from './reject-counts.ts';
import type { LoadedSchema } from './schema.ts';
import { jsonRows, parquetRows } from './table-formats.ts';
import { TableRows } from './table-rows.ts';

/** A Parquet table is held whole. */
const MAX_PARQUET_BYTES = 1 << 30;

/** What a table may hold, and how many bad rows make a bad file. */
export interface TableOptions {
  /** Rows beyond which reading stops with `features.table-too-large`. */
  readonly maxRows: number;
  /** Rows times columns, 4 bytes each. */
  readonly maxValues: number;
  /** A larger share of refused rows is a bad file; up to ten are always let pass in a file of 20 rows or more. */
  readonly maxRejectedShare: number;
  /** Label of every row, for files without one: a value of the label cell (`normal`) or an attack type. */
  readonly label?: string;
  readonly signal?: AbortSignal;
  /** The content, where it is not what lies at the path: decrypted, say. Read once. */
  readonly bytes?: AsyncIterable<Uint8Array> | undefined;
}

export const TABLE_DEFAULTS = {
  maxRows: 20_000_000,
  maxValues: 500_000_000,
  maxRejectedShare: 0.01,
} as const satisfies TableOptions;

export interface TableCounters {
  /** Rows of the file, the header not counted. */
  readonly read: number;
  readonly accepted: number;
  readonly rejected: number;
  /** Refused rows by `code column`. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly examples: readonly RejectExample[];
}

/** A labelled table as a model sees it. All arrays are owned by the caller. */
export interface Table {
  readonly schemaId: Digest;
  readonly sourceKind: 'table';
  readonly rows: number;
  readonly columns: number;
  readonly columnNames: readonly string[];
  /** Row-major, rows x columns; missing is NaN, a category its index. */
  readonly values: Float32Array;
  /** 1 attack, 0 normal. */
  readonly labels: Uint8Array;
  /** Index into `typeNames`, one a row. */
  readonly typeIndex: Uint16Array;
  /** Entry 0 is `benign`, the others the attack types in order of first sight; `attack` where the file names none. */
  readonly typeNames: readonly string[];
  /** The time cell of each row, in the file's own unit, where the schema names one. Not a feature. */
  readonly times?: Float64Array;
  /** Of the uncompressed bytes of the file. */
  readonly digest: Digest;
  readonly counters: TableCounters;
}

/**
 * Reads a table by its schema: CSV or JSON lines (an object a row), plain or gzip, or Parquet, told by the first bytes.
 * Rows that break the schema are counted and left out. Throws `features.table-unreadable`, `features.table-malformed` (header, or too many bad rows; names the
 * line), `features.table-too-large`, `features.schema-unsupported`, and `traffic.csv-malformed` with the line,
 * `traffic.parquet-malformed`.
 */
export async function readTable(
  path: string,
  loaded: LoadedSchema,
  options: Partial<TableOptions> = {},
): Promise<Table> {
  const limits: TableOptions = { ...TABLE_DEFAULTS, ...options };
  const rejects = new RejectCounts();
  const rows = new TableRows(loaded, limits, rejects);
  const file = new HashedFile(path, limits.bytes);
  try {
    for await (const batch of tableRows(path, file, { loaded, rows })) {
      limits.signal?.throwIfAborted();
      for (const cells of batch) rows.add(cells);
      refuseBadFile(path, rows, limits);
    }
  } catch (error) {
    throw file.failure ?? error;
  }
  if (file.failure !== undefined) throw file.failure;
  if (rows.read === 0) throw new FeatureError('features.table-malformed', `${path}: expected rows, got none`);
  refuseBadFile(path, rows, { maxRejectedShare: limits.maxRejectedShare, settled: true });
  return {
    schemaId: loaded.id,
    sourceKind: 'table',
    ...rows.finish(),
    columnNames: loaded.schema.columns.map((column) => column.name),
    digest: file.digest(),
    counters: {
      read: rows.read,
      accepted: rows.accepted,
      rejected: rejects.total,
      reasons: rejects.byReason,
      examples: rejects.examples,
    },
  };
}

/** Rows of cells, whatever the format; the names go to `rows` where the format has them. */
async function* tableRows(
  path: string,
  file: HashedFile,
  { loaded, rows }: { readonly loaded: LoadedSchema; readonly rows: TableRows },
): AsyncGenerator<readonly (readonly string[])[]> {
  const chunks = file.chunks();
  const first = await chunks.next();
  const head = first.done === true ? new Uint8Array(0) : first.value;
  const all = (async function* () {
    if (first.done !== true) yield first.value;
    yield* chunks;
  })();
  const missing = loaded.schema.table?.missingText[0] ?? '';
  if (isParquet(head)) {
    // Read from its end, and what is parsed has to be the very bytes that the digest is of.
    yield* parquetRows(await wholeOf(path, all), path, { missing, begin: (names) => rows.begin(names) });
  } else if (/^\s*\{/.test(new TextDecoder('latin1').decode(head.subarray(0, 64)))) {
    yield* jsonRows(all as AsyncIterable<Uint8Array<ArrayBuffer>>, {
      missing,
      begin: (names) => rows.begin(names),
    });
  } else yield* readCsvRows(all);
}

/** Throws `features.table-too-large`. */
async function wholeOf(path: string, chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    length += chunk.length;
    if (length > MAX_PARQUET_BYTES) {
      throw new FeatureError(
        'features.table-too-large',
        `${path}: expected at most ${MAX_PARQUET_BYTES} bytes`,
      );
    }
  }
  return Buffer.concat(parts);
}

/** Ten bad rows pass in a file of 20 or more; while reading, judgement waits for 1,000 rows. */
function refuseBadFile(
  path: string,
  rows: TableRows,
  { maxRejectedShare, settled = false }: { readonly maxRejectedShare: number; readonly settled?: boolean },
): void {
  const { total, examples } = rows.rejects;
  if (total === 0 || (!settled && rows.read < 1000)) return;
  const allowed = Math.max(rows.read * maxRejectedShare, rows.read >= 20 ? 10 : 0);
  if (total <= allowed && rows.accepted > 0) return;
  const [first] = examples;
  throw new FeatureError(
    'features.table-malformed',
    `${path}: ${total} of ${rows.read} rows do not fit the schema; the first is line ${first?.row}, ` +
      `column ${first?.column}: ${first?.code}`,
  );
}
