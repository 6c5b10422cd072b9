import { countedFlow, newCounters } from '../counters.ts';
import { TrafficError } from '../errors.ts';
import type { FlowRecord, SourceCounters } from '../flow.ts';
import { FlowBatch } from '../flow-batch.ts';
import { FLOW_CSV_COLUMNS, FLOW_CSV_REQUIRED, type FlowCsvColumn, flowFromCsv } from '../flow-csv.ts';
import type { FlowSource } from '../flow-source.ts';
import { ParquetFile } from './parquet-file.ts';
import type { ParquetCell } from './parquet-limits.ts';

/** Flows handed out at once, at most. */
const BATCH = 4_096;

/**
 * Flows of a Parquet file with the columns of a flow CSV, in the order of the file; further columns are passed over.
 * Rows that are no flow are counted as there: `csv-invalid-address`, `csv-invalid-number`.
 */
export class ParquetSource implements FlowSource {
  /** Each batch tells its own: a flow keeps its meter through a file. */
  readonly kind = 'csv';
  readonly counters: SourceCounters;
  readonly #file: ParquetFile;
  readonly #columns: readonly FlowCsvColumn[];

  private constructor(file: ParquetFile, counters: SourceCounters) {
    this.#file = file;
    this.#columns = FLOW_CSV_COLUMNS.filter((name) => file.columns.includes(name));
    this.counters = counters;
  }

  /** Throws `traffic.parquet-malformed` and `traffic.missing-column`. */
  static async open(path: string, counters: SourceCounters = newCounters()): Promise<ParquetSource> {
    return await ParquetSource.#of(await ParquetFile.open(path), counters);
  }

  /** Of bytes that are held whole; `path` is how they are called. Throws as `open`. */
  static async of(
    chunks: AsyncIterable<Uint8Array>,
    path: string,
    counters: SourceCounters = newCounters(),
  ): Promise<ParquetSource> {
    const pieces: Uint8Array[] = [];
    for await (const chunk of chunks) pieces.push(chunk);
    return await ParquetSource.#of(await ParquetFile.of(Buffer.concat(pieces), path), counters);
  }

  static async #of(file: ParquetFile, counters: SourceCounters): Promise<ParquetSource> {
    const missing = FLOW_CSV_REQUIRED.find((name) => !file.columns.includes(name));
    if (missing === undefined) return new ParquetSource(file, counters);
    await file.close();
    throw new TrafficError('traffic.missing-column', `expected flows in Parquet with the column ${missing}`);
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    try {
      for await (const group of this.#file.groups(this.#columns)) {
        const rows = group.get('protocol')?.length ?? 0;
        for (let from = 0; from < rows; from += BATCH) {
          if (signal?.aborted === true) return;
          const flows: FlowRecord[] = [];
          for (let row = from; row < Math.min(rows, from + BATCH); row++) {
            const flow = this.#flow(group, row);
            if (flow !== undefined) flows.push(flow);
          }
          yield* FlowBatch.runsOf(flows);
        }
      }
    } finally {
      await this.#file.close();
    }
  }

  #flow(group: ReadonlyMap<string, readonly ParquetCell[]>, row: number): FlowRecord | undefined {
    return countedFlow(
      this.counters,
      flowFromCsv((column) => textOf(group.get(column)?.[row])),
    );
  }
}

/** As the cell of a flow CSV; a missing number may be null or NaN. */
function textOf(cell: ParquetCell | undefined): string | undefined {
  return cell === undefined || cell === null || Number.isNaN(cell) ? undefined : String(cell);
}
