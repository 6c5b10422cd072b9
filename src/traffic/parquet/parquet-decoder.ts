import { type FileHandle, open } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { type Compressors, type FileMetaData, parquetMetadata, parquetRead } from 'hyparquet';
import { TrafficError } from '../errors.ts';
import { checkPages } from './page-check.ts';
import {
  isParquet,
  malformed,
  PARQUET_LIMITS,
  PARQUET_MAGIC,
  type ParquetCell,
  type ParquetLimits,
} from './parquet-limits.ts';

/** Bytes by their place; each answer is the caller's own. */
interface Ranges {
  read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

const TAIL = 8;

/**
 * A Parquet file of flat columns, read a row group at a time; runs where it can be ended, in `parquet-worker.ts`. Whatever is wrong with it, and every limit it breaks,
 * throws `traffic.parquet-malformed`: sizes are checked in the file's own headers before anything is decoded.
 */
export class ParquetDecoder {
  readonly #path: string;
  readonly #file: Ranges;
  readonly #size: number;
  readonly #limits: ParquetLimits;
  readonly #metadata: FileMetaData;
  /** Names of the columns that are plain values, in the order of the file. */
  readonly columns: readonly string[];
  readonly rows: number;

  private constructor(
    path: string,
    file: Ranges,
    size: number,
    metadata: FileMetaData,
    limits: ParquetLimits,
  ) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
    this.#metadata = metadata;
    this.#limits = limits;
    this.rows = Number(metadata.num_rows);
    const tops = metadata.schema[0]?.num_children ?? 0;
    // A file whose elements are not all children of the root has groups, lists or maps: those are passed over.
    const isFlat = metadata.schema.length === tops + 1;
    this.columns = metadata.schema
      .slice(1)
      .filter(
        ({ num_children, repetition_type }) => isFlat && !num_children && repetition_type !== 'REPEATED',
      )
      .map(({ name }) => name);
  }

  static async open(path: string, limits: Partial<ParquetLimits> = {}): Promise<ParquetDecoder> {
    const within = { ...PARQUET_LIMITS, ...limits };
    const handle = await open(path, 'r').catch((cause) => {
      throw new TrafficError('traffic.source-missing', `${path} cannot be opened`, { cause });
    });
    const file = fileRanges(handle);
    try {
      const { size } = await handle.stat();
      const metadata = await readMetadata(path, file, size, within);
      return new ParquetDecoder(path, file, size, metadata, within);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** As `open`, for a file whose bytes are at hand; they are only read. `path` is for messages. */
  static async of(
    bytes: Uint8Array,
    path: string,
    limits: Partial<ParquetLimits> = {},
  ): Promise<ParquetDecoder> {
    const within = { ...PARQUET_LIMITS, ...limits };
    const file: Ranges = {
      read: async (from, length) => Uint8Array.from(bytes.subarray(from, from + length)),
      close: async () => {},
    };
    const metadata = await readMetadata(path, file, bytes.length, within);
    return new ParquetDecoder(path, file, bytes.length, metadata, within);
  }

  /** Row groups of the file. */
  get groups(): number {
    return this.#metadata.row_groups.length;
  }

  /** One row group: for each name an array of cells, all of one length. */
  async group(index: number, names: readonly string[]): Promise<ReadonlyMap<string, readonly ParquetCell[]>> {
    const groups = this.#metadata.row_groups;
    const rowStart = groups.slice(0, index).reduce((sum, { num_rows }) => sum + Number(num_rows), 0);
    const rows = Number(groups[index]?.num_rows ?? 0);
    for (const { meta_data: column } of groups[index]?.columns ?? []) {
      if (column === undefined) throw malformed(this.#path, 'a column without a description');
      if (!names.includes(column.path_in_schema.join('.'))) continue;
      await this.#checkColumn(column, rows);
    }
    return await this.#read(names, rowStart, rows);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #checkColumn(
    column: NonNullable<FileMetaData['row_groups'][number]['columns'][number]['meta_data']>,
    rows: number,
  ): Promise<void> {
    const { maxChunkBytes } = this.#limits;
    const from = Number(column.dictionary_page_offset || column.data_page_offset);
    const length = Number(column.total_compressed_size);
    const isWithin = from >= 0 && length >= 0 && from + length <= this.#size;
    if (!isWithin || length > maxChunkBytes || Number(column.total_uncompressed_size) > maxChunkBytes) {
      throw malformed(this.#path, `a column chunk of ${length} bytes at ${from}`);
    }
    if (Number(column.num_values) > rows) throw malformed(this.#path, 'a column with more values than rows');
    const bytes = await this.#file.read(from, length);
    try {
      checkPages(bytes, { maxValues: rows, maxPageBytes: maxChunkBytes });
    } catch (error) {
      throw malformed(this.#path, error instanceof Error ? error.message : 'a damaged page', error);
    }
  }

  async #read(
    names: readonly string[],
    rowStart: number,
    rows: number,
  ): Promise<ReadonlyMap<string, readonly ParquetCell[]>> {
    const columns = new Map(names.map((name) => [name, new Array<ParquetCell>(rows).fill(null)]));
    try {
      await parquetRead({
        file: { byteLength: this.#size, slice: (from, to) => this.#slice(from, to) },
        metadata: this.#metadata,
        columns: [...names],
        rowStart,
        rowEnd: rowStart + rows,
        compressors: DECOMPRESSORS,
        onChunk: ({ columnName, columnData, rowStart: at }) => {
          const cells = columns.get(columnName);
          for (let i = 0; cells !== undefined && i < columnData.length; i++) {
            const row = at - rowStart + i;
            if (row >= 0 && row < rows) cells[row] = cellOf(columnData[i]);
          }
        },
      });
    } catch (error) {
      throw malformed(this.#path, error instanceof Error ? error.message : 'a damaged column', error);
    }
    return columns;
  }

  async #slice(from: number, to = this.#size): Promise<ArrayBuffer> {
    const length = Math.min(to, this.#size) - from;
    if (!(from >= 0 && length >= 0)) throw new RangeError('a range outside the file');
    return (await this.#file.read(from, length)).buffer;
  }
}

/** The platform's own where there is one: they obey a limit of output. */
const DECOMPRESSORS: Compressors = {
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  ZSTD: (input, length) => zstdDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
};

async function readMetadata(
  path: string,
  file: Ranges,
  size: number,
  limits: ParquetLimits,
): Promise<FileMetaData> {
  if (size < PARQUET_MAGIC.length + TAIL) throw malformed(path, `only ${size} bytes`);
  const tail = await file.read(size - TAIL, TAIL);
  if (!isParquet(tail.subarray(4))) throw malformed(path, 'no mark at the end: it is cut, or encrypted');
  const length = new DataView(tail.buffer).getUint32(0, true);
  if (length > limits.maxFooterBytes || length > size - TAIL - PARQUET_MAGIC.length) {
    throw malformed(path, `a description of ${length} bytes`);
  }
  const footer = await file.read(size - TAIL - length, length + TAIL);
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(footer.buffer);
  } catch (error) {
    throw malformed(path, 'a description that cannot be read', error);
  }
  const { maxRows, maxGroupRows, maxColumns } = limits;
  const groups = metadata.row_groups.map(({ num_rows }) => Number(num_rows));
  const rows = groups.reduce((sum, n) => sum + n, 0);
  if (metadata.schema.length > maxColumns + 1) throw malformed(path, `more than ${maxColumns} columns`);
  if (groups.some((n) => !(n >= 0 && n <= maxGroupRows))) {
    throw malformed(path, `a row group of more than ${maxGroupRows} rows`);
  }
  if (rows > maxRows || rows !== Number(metadata.num_rows))
    throw malformed(path, `${rows} rows in its groups`);
  return metadata;
}

/** Throws where the file is shorter than it was. */
function fileRanges(file: FileHandle): Ranges {
  return {
    read: async (from, length) => {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const { bytesRead } = await file.read(bytes, at, length - at, from + at);
        if (bytesRead === 0) {
          throw new TrafficError('traffic.read-failed', 'a file became shorter while it was read');
        }
        at += bytesRead;
      }
      return bytes;
    },
    close: () => file.close(),
  };
}

function cellOf(value: unknown): ParquetCell {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value;
  return value instanceof Date ? value.getTime() : null;
}
