import { TrafficError } from '../errors.ts';

export interface ParquetLimits {
  readonly maxRows: number;
  /** Rows decoded at once. */
  readonly maxGroupRows: number;
  readonly maxColumns: number;
  /** Of the description at the end of the file. */
  readonly maxFooterBytes: number;
  /** Of one column of one row group, compressed and not. */
  readonly maxChunkBytes: number;
}

export const PARQUET_LIMITS: ParquetLimits = {
  maxRows: 100_000_000,
  maxGroupRows: 4_194_304,
  maxColumns: 4_096,
  maxFooterBytes: 64 << 20,
  maxChunkBytes: 512 << 20,
};

/** A cell as the reader gives it: null is missing. */
export type ParquetCell = string | number | bigint | boolean | null;

export const PARQUET_MAGIC = 'PAR1';

/** Whether a file that begins with `head` is Parquet. */
export function isParquet(head: Uint8Array): boolean {
  const { length } = PARQUET_MAGIC;
  return head.length >= length && Buffer.from(head.subarray(0, length)).toString() === PARQUET_MAGIC;
}

export function malformed(path: string, what: string, cause?: unknown): TrafficError {
  const message = `${path} is no Parquet file that can be read: ${what}`;
  return new TrafficError('traffic.parquet-malformed', message, { cause });
}
