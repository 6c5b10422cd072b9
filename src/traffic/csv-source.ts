import type { ByteSource } from './byte-source.ts';
import { countedFlow, countName, newCounters } from './counters.ts';
import { parseCsv } from './csv.ts';
import { TrafficError } from './errors.ts';
import type { FlowRecord, SourceCounters } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import { FLOW_CSV_COLUMNS, FLOW_CSV_REQUIRED, type FlowCsvColumn, flowFromCsv } from './flow-csv.ts';
import type { FlowSource } from './flow-source.ts';
import { untilAborted } from './until-aborted.ts';

/** Whether a text that begins with `head` is a flow CSV: its first line names a column of ours. */
export function isFlowCsv(head: string): boolean {
  const header = (head.split('\n', 1)[0] ?? '').split(',').map(columnName);
  return FLOW_CSV_REQUIRED.filter((column) => header.includes(column)).length >= 2;
}

/**
 * Flows of a CSV file with a header line (see `FLOW_CSV_COLUMNS`), in the order of the file; columns in any order,
 * further ones ignored. Rows that are no flow are counted: `csv-field-count`, `csv-invalid-address`,
 * `csv-invalid-number`; at `csv-broken-quotes` reading ends. A missing column throws `traffic.missing-column`.
 */
export class CsvSource implements FlowSource {
  readonly kind = 'csv';
  readonly counters: SourceCounters;
  readonly #bytes: ByteSource;
  #columns: ReadonlyMap<string, number> | undefined;
  #fieldCount = 0;

  constructor(bytes: ByteSource, counters: SourceCounters = newCounters()) {
    this.#bytes = bytes;
    this.counters = counters;
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    try {
      for await (const rows of untilAborted(this.#bytes, parseCsv(this.#bytes.chunks), signal)) {
        yield* FlowBatch.runsOf(rows.map((row) => this.#flow(row)).filter((flow) => flow !== undefined));
      }
    } catch (error) {
      if (!(error instanceof TrafficError && error.code === 'traffic.csv-malformed')) throw error;
      countName(this.counters.malformed, 'csv-broken-quotes');
    }
  }

  #flow(row: readonly string[]): FlowRecord | undefined {
    const columns = this.#columns;
    if (columns === undefined) {
      this.#readHeader(row);
      return undefined;
    }
    const flow =
      row.length === this.#fieldCount
        ? flowFromCsv((column) => row[columns.get(column) ?? -1])
        : 'csv-field-count';
    return countedFlow(this.counters, flow);
  }

  #readHeader(row: readonly string[]): void {
    const header = row.map(columnName);
    const missing = FLOW_CSV_REQUIRED.find((column) => !header.includes(column));
    if (missing !== undefined) {
      throw new TrafficError('traffic.missing-column', `expected a flow CSV with the column ${missing}`);
    }
    this.#fieldCount = header.length;
    this.#columns = new Map(
      FLOW_CSV_COLUMNS.map((column: FlowCsvColumn) => [column, header.indexOf(column)] as const).filter(
        ([, at]) => at >= 0,
      ),
    );
  }
}

function columnName(cell: string): string {
  return cell.trim().replaceAll('"', '').toLowerCase();
}
