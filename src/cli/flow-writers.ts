import { type FileHandle, open } from 'node:fs/promises';
import type { FeatureBatch, FeatureColumn } from '../features/index.ts';
import { FLOW_CSV_COLUMNS, type FlowBatch, FlowParquetWriter, flowToCsvRow } from '../traffic/index.ts';

/** Writes flows with their features into a file of its own making, which it does not overwrite. */
export interface FlowWriter {
  write(flows: FlowBatch, features: FeatureBatch): Promise<void>;
  /** Without it the file is not whole. */
  close(): Promise<void>;
  /** Closes an unfinished file. */
  abandon(): Promise<void>;
}

/** A flow and its features share names: the raw count, and the value a model sees. */
const prefixed = (columns: readonly FeatureColumn[]) => columns.map(({ name }) => `feature_${name}`);

/** The writers, by what the name of the file ends in. */
export const FLOW_WRITERS: Readonly<
  Record<string, (path: string, columns: readonly FeatureColumn[]) => Promise<FlowWriter>>
> = {
  '.csv': async (path, columns) => {
    const head = `${[...FLOW_CSV_COLUMNS, ...prefixed(columns)].join(',')}\n`;
    return await TextWriter.create(path, head, (flows, features, row) => {
      const values = columns.map((column, i) => shown(column, features, row, i) ?? '');
      return `${[...flowToCsvRow(flows.record(row)), ...values].join(',')}\n`;
    });
  },
  '.jsonl': async (path, columns) =>
    await TextWriter.create(path, '', (flows, features, row) => {
      const values = columns.map((column, i) => [column.name, shown(column, features, row, i)]);
      return `${JSON.stringify({ flow: flows.record(row), features: Object.fromEntries(values) })}\n`;
    }),
  '.parquet': async (path, columns) => {
    const writer = await FlowParquetWriter.create(path, prefixed(columns));
    return {
      write: (flows, features) => writer.write(flows.records(), features.values),
      close: () => writer.close(),
      abandon: () => writer.abandon(),
    };
  },
};

class TextWriter implements FlowWriter {
  readonly #file: FileHandle;
  readonly #line: (flows: FlowBatch, features: FeatureBatch, row: number) => string;

  private constructor(
    file: FileHandle,
    line: (flows: FlowBatch, features: FeatureBatch, row: number) => string,
  ) {
    this.#file = file;
    this.#line = line;
  }

  static async create(
    path: string,
    head: string,
    line: (flows: FlowBatch, features: FeatureBatch, row: number) => string,
  ): Promise<TextWriter> {
    const writer = new TextWriter(await open(path, 'wx'), line);
    if (head !== '') await writer.#file.appendFile(head);
    return writer;
  }

  async write(flows: FlowBatch, features: FeatureBatch): Promise<void> {
    let text = '';
    for (let row = 0; row < flows.rows; row++) text += this.#line(flows, features, row);
    await this.#file.appendFile(text);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
  }
}

/** A category by its name, a missing value as nothing. */
function shown(
  { categories }: FeatureColumn,
  { values, columns }: FeatureBatch,
  row: number,
  column: number,
): string | number | null {
  const value = values[row * columns + column] as number;
  return Number.isNaN(value) ? null : (categories?.[value] ?? value);
}
