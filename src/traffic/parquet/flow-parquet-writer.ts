import { type FileHandle, open } from 'node:fs/promises';
import type { SchemaElement } from 'hyparquet';
import type { ParquetWriter } from 'hyparquet-writer';
import type { FlowRecord } from '../flow.ts';
import { FLOW_CSV_COLUMNS, type FlowCsvColumn, flowToCsvRow } from '../flow-csv.ts';
import type { FlushingBytes, FlushingWriter } from './flushing-writer.ts';

/** Rows of a group: the memory held is that of one group. */
const GROUP = 16_384;

const TEXT = new Set<FlowCsvColumn>([
  'source_kind',
  'source_address',
  'destination_address',
  'state',
  'end_reason',
  'tunnel_kind',
]);
const WHOLE = new Set<FlowCsvColumn>(['protocol', 'source_port', 'destination_port']);

/**
 * Writes flows and what belongs to them as Parquet: the columns of a flow CSV (text, int32, boolean, and float64 for
 * times, counts and measures, null where not reported), then `extra` columns of float32, NaN where missing. Values are
 * kept to the bit. Throws what the file system throws; an existing file is not overwritten.
 */
export class FlowParquetWriter {
  readonly #file: FileHandle;
  readonly #bytes: FlushingBytes;
  readonly #writer: ParquetWriter;
  readonly #extra: readonly string[];
  #cells: (string | number | boolean | null)[][] = FLOW_CSV_COLUMNS.map(() => []);
  #values: Float32Array[];
  #rows = 0;

  private constructor(
    file: FileHandle,
    extra: readonly string[],
    newWriter: (schema: SchemaElement[]) => FlushingWriter,
  ) {
    this.#file = file;
    this.#extra = extra;
    this.#values = extra.map(() => new Float32Array(GROUP));
    const schema: SchemaElement[] = [
      { name: 'flows', num_children: FLOW_CSV_COLUMNS.length + extra.length },
      ...FLOW_CSV_COLUMNS.map((name) => elementOf(name)),
      ...extra.map((name): SchemaElement => ({ name, type: 'FLOAT', repetition_type: 'REQUIRED' })),
    ];
    const { writer, bytes } = newWriter(schema);
    this.#writer = writer;
    this.#bytes = bytes;
  }

  static async create(path: string, extra: readonly string[]): Promise<FlowParquetWriter> {
    // Loaded when it is needed: most runs write no Parquet.
    const { newFlushingWriter } = await import('./flushing-writer.ts');
    return new FlowParquetWriter(await open(path, 'wx'), extra, newFlushingWriter);
  }

  /** `values`: row-major, a row for each flow, a column for each extra name; copied. */
  async write(flows: readonly FlowRecord[], values: Float32Array): Promise<void> {
    const width = this.#extra.length;
    for (const [row, flow] of flows.entries()) {
      for (const [column, text] of flowToCsvRow(flow).entries()) {
        this.#cells[column]?.push(cellOf(FLOW_CSV_COLUMNS[column] as FlowCsvColumn, text));
      }
      for (let column = 0; column < width; column++) {
        (this.#values[column] as Float32Array)[this.#rows] = values[row * width + column] as number;
      }
      if (++this.#rows === GROUP) await this.#flush();
    }
  }

  /** Writes what is left and the description, without which the file is none. */
  async close(): Promise<void> {
    await this.#flush();
    this.#writer.finish();
    await this.#bytes.drain(this.#file);
    await this.#file.close();
  }

  /** Closes an unfinished file. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  async #flush(): Promise<void> {
    if (this.#rows === 0) return;
    const rows = this.#rows;
    this.#writer.write({
      columnData: [
        ...FLOW_CSV_COLUMNS.map((name, i) => ({ name, data: this.#cells[i] ?? [] })),
        ...this.#extra.map((name, i) => ({ name, data: (this.#values[i] as Float32Array).slice(0, rows) })),
      ],
      rowGroupSize: GROUP,
    });
    this.#cells = FLOW_CSV_COLUMNS.map(() => []);
    this.#rows = 0;
    await this.#bytes.drain(this.#file);
  }
}

function elementOf(name: FlowCsvColumn): SchemaElement {
  const base = { name, repetition_type: 'OPTIONAL' } as const;
  if (TEXT.has(name)) return { ...base, type: 'BYTE_ARRAY', converted_type: 'UTF8' };
  if (WHOLE.has(name)) return { ...base, type: 'INT32' };
  return { ...base, type: name === 'handshake_seen' ? 'BOOLEAN' : 'DOUBLE' };
}

function cellOf(name: FlowCsvColumn, text: string): string | number | boolean | null {
  if (text === '') return null;
  if (TEXT.has(name)) return text;
  return name === 'handshake_seen' ? text === 'true' : Number(text);
}
