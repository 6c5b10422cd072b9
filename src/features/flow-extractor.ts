import { FLOW_NUMBER_INDEX as AT, FlowBatch, type FlowRecord } from '../traffic/index.ts';
import { BLOCK, ColumnKernel, type OnProblem } from './column-kernel.ts';
import { FeatureError, type FeatureErrorCode } from './errors.ts';
import type { FeatureBatch, RejectedRow } from './feature-batch.ts';
import { FLOW_VALUES, type FlowDerivation } from './flow-values.ts';
import type { FlowWindows } from './flow-windows.ts';
import { LastWindows } from './last-windows.ts';
import { RecordBatch } from './record-batch.ts';
import { RejectCounts } from './reject-counts.ts';
import type { FeatureColumn, FeatureSchema, LoadedSchema } from './schema.ts';
import { SlidingWindows } from './sliding-windows.ts';

export interface FlowExtractorCounters {
  readonly flows: number;
  /** Rows refused, by reason and column. */
  readonly rejects: RejectCounts;
  /** Values moved to an end of their range, by column; columns without any are left out. Likewise below. */
  readonly clipped: Readonly<Record<string, number>>;
  /** Values that could not be used and count as missing, those that a model imputes among them. */
  readonly madeMissing: Readonly<Record<string, number>>;
  /** Values that the source did not report, and the schema keeps as missing. */
  readonly missing: Readonly<Record<string, number>>;
  /** What the windows remember now, and what they have forgotten: flows or keys. */
  readonly remembered: number;
  readonly forgotten: number;
}

/** What a column of the schema takes before the kernel can read its cells; one of these, a column of the batch or a derivation. */
interface Step {
  /** Number column of the batch, or -1. */
  readonly number: number;
  readonly derive: FlowDerivation | undefined;
  /** First cell of the column in the block. */
  readonly cell: number;
  readonly absentIn: readonly string[];
}

/**
 * Turns flows into feature vectors. The schema is compiled when the extractor is made: each column is a loop over a
 * block of rows that fills cells, and a kernel that writes cells as vectors; no row looks at the schema, and nothing is allocated for a row that is sound.
 *
 * It remembers flows for its windows, so one extractor serves one stream of flows, in the order in which they arrive;
 * the same flows in the same order give the same values, however they are cut into batches. Throws
 * `features.schema-unsupported` for a schema it cannot compute.
 */
export class FlowExtractor {
  readonly #loaded: LoadedSchema;
  readonly #kernel: ColumnKernel;
  readonly #steps: readonly Step[];
  readonly #windows: FlowWindows | undefined;
  readonly #windowCell: number;
  /** Of each row of the block: whether it cannot be used, why, and where. */
  readonly #isRefused = new Uint8Array(BLOCK);
  readonly #codes: FeatureErrorCode[] = new Array<FeatureErrorCode>(BLOCK).fill('features.flow-malformed');
  readonly #refusedIn = new Int32Array(BLOCK);
  readonly #rejects = new RejectCounts();
  readonly #records = new RecordBatch();
  readonly #onProblem: OnProblem;
  #refused = 0;
  #flows = 0;

  constructor(loaded: LoadedSchema) {
    const { columns } = loaded.schema;
    const windows = newWindows(loaded.schema);
    const ofWindows = new Map(windows.columns.map((name, index) => [name, index]));
    const own = new Map<string, number>();
    // Bits of one number are read from one copy of it.
    const keyOf = ({ name, absentIn }: FeatureColumn) => {
      const value = FLOW_VALUES.get(name);
      const isShared = value !== undefined && 'number' in value && absentIn === undefined;
      return isShared ? `number ${value.number}` : name;
    };
    for (const column of columns) {
      const key = keyOf(column);
      if (!ofWindows.has(column.name) && !own.has(key)) own.set(key, own.size);
    }
    const cellOf = columns.map((column) => {
      const window = ofWindows.get(column.name);
      return window === undefined ? (own.get(keyOf(column)) as number) : own.size + window;
    });
    this.#loaded = loaded;
    const steps = columns.map((column, c) => stepOf(column, ofWindows, (cellOf[c] as number) * BLOCK));
    this.#steps = steps.filter(({ absentIn, cell }, c) =>
      ofWindows.has(columns[c]?.name ?? '') ? absentIn.length > 0 : cellOf.indexOf(cell / BLOCK) === c,
    );
    this.#windows = columns.some(({ name }) => ofWindows.has(name)) ? windows : undefined;
    this.#windowCell = own.size * BLOCK;
    this.#kernel = new ColumnKernel(
      columns,
      cellOf,
      own.size + windows.columns.length,
      columns.map(({ name }) => bitOf(name)),
    );
    this.#onProblem = (row, code, column) => {
      if (this.#isRefused[row] === 0) this.#note(row, code, column);
    };
  }

  get counters(): FlowExtractorCounters {
    const { remembered = 0, forgotten = 0 } = this.#windows ?? {};
    const counts = (of: (column: number) => number) =>
      Object.fromEntries(
        this.#loaded.schema.columns.map(({ name }, c) => [name, of(c)] as const).filter(([, n]) => n > 0),
      );
    return {
      flows: this.#flows,
      rejects: this.#rejects,
      clipped: counts((column) => this.#kernel.clipped(column)),
      madeMissing: counts((column) => this.#kernel.madeMissing[column] as number),
      missing: counts((column) => this.#kernel.missing(column)),
      remembered,
      forgotten,
    };
  }

  /**
   * One row a flow, in the same order, in a batch that the caller owns. Records are of the source kind of the first of
   * them, and one of another kind is refused; no records are of the schema's first kind. Throws
   * `features.batch-malformed` for a source kind that the schema does not allow.
   */
  extract(flows: FlowBatch | readonly FlowRecord[]): FeatureBatch {
    const { schema, id } = this.#loaded;
    const columns = schema.columns.length;
    const batch = flows instanceof FlowBatch ? flows : this.#records.from(flows);
    const sourceKind = batch?.sourceKind ?? schema.sourceKinds[0] ?? '';
    const rows = batch?.rows ?? 0;
    const values = new Float32Array(rows * columns);
    const rejected: RejectedRow[] = [];
    if (batch !== undefined) this.#extract(batch, values, rejected);
    return { schemaId: id, sourceKind, rows, columns, values, rejected };
  }

  /**
   * As `extract`, into `out`: Float32Array, row-major, at least rows x columns, the rows that are refused NaN. Returns
   * how many those are; which, and why, is in the counters alone. Throws `features.batch-malformed`.
   */
  extractInto(batch: FlowBatch, out: Float32Array): number {
    const expected = batch.rows * this.#loaded.schema.columns.length;
    if (out.length < expected) {
      const message = `expected room for ${expected} values, got ${out.length}`;
      throw new FeatureError('features.batch-malformed', message);
    }
    return this.#extract(batch, out, undefined);
  }

  #extract(batch: FlowBatch, out: Float32Array, rejected: RejectedRow[] | undefined): number {
    const { sourceKinds } = this.#loaded.schema;
    if (!sourceKinds.includes(batch.sourceKind)) {
      const message = `expected flows of a source kind of ${sourceKinds.join(', ')}, got ${batch.sourceKind}`;
      throw new FeatureError('features.batch-malformed', message);
    }
    const width = this.#loaded.schema.columns.length;
    let refused = 0;
    for (let from = 0; from < batch.rows; from += BLOCK) {
      const rows = Math.min(BLOCK, batch.rows - from);
      this.#extractBlock(batch, from, rows);
      if (this.#refused > 0) {
        refused += this.#refused;
        this.#refuse(from, rows, rejected);
      }
      const block = this.#kernel.out;
      out.set(rows === BLOCK ? block : block.subarray(0, rows * width), from * width);
      this.#flows += rows;
    }
    return refused;
  }

  #extractBlock(batch: FlowBatch, from: number, rows: number): void {
    const { numbers, capacity, sourceKind } = batch;
    const { cells } = this.#kernel;
    const windows = this.#windows;
    const starts = AT.start_ms * capacity + from;
    const ends = AT.end_ms * capacity + from;
    this.#isRefused.fill(0);
    this.#refused = 0;
    for (let row = 0; row < rows; row++) {
      // Infinity minus itself is NaN, too.
      const span = (numbers[ends + row] as number) - (numbers[starts + row] as number);
      if (span - span !== 0) this.#note(row, 'features.flow-malformed', -1);
    }
    windows?.add(batch, from, rows, this.#isRefused, cells, this.#windowCell);
    for (const { number, derive, cell, absentIn } of this.#steps) {
      if (absentIn.length > 0 && absentIn.includes(sourceKind)) cells.fill(Number.NaN, cell, cell + rows);
      else if (number >= 0) {
        const at = number * capacity + from;
        for (let row = 0; row < rows; row++) cells[cell + row] = numbers[at + row] as number;
      } else derive?.(batch, from, from + rows, cells, cell);
    }
    this.#kernel.write(rows, this.#onProblem);
  }

  #note(row: number, code: FeatureErrorCode, column: number): void {
    this.#isRefused[row] = 1;
    this.#codes[row] = code;
    this.#refusedIn[row] = column;
    this.#refused++;
  }

  /** Empties the rows of the block that have a problem, and counts them. */
  #refuse(from: number, rows: number, rejected: RejectedRow[] | undefined): void {
    const { columns } = this.#loaded.schema;
    const width = columns.length;
    for (let row = 0; row < rows; row++) {
      if (this.#isRefused[row] === 0) continue;
      const code = this.#codes[row] as FeatureErrorCode;
      const column = columns[this.#refusedIn[row] as number]?.name ?? '';
      this.#kernel.out.fill(Number.NaN, row * width, (row + 1) * width);
      this.#rejects.add(this.#flows + row + 1, code, column);
      rejected?.push({ row: from + row, code, column });
    }
  }
}

function stepOf(column: FeatureColumn, ofWindows: ReadonlyMap<string, number>, cell: number): Step {
  const { name, absentIn = [] } = column;
  if (ofWindows.has(name)) {
    refuseCategories(column, undefined);
    return { number: -1, derive: undefined, cell, absentIn };
  }
  const value = FLOW_VALUES.get(name);
  if (value === undefined) {
    throw new FeatureError('features.schema-unsupported', `no extractor computes the flow column ${name}`);
  }
  if ('number' in value) {
    refuseCategories(column, undefined);
    return { number: AT[value.number], derive: undefined, cell, absentIn };
  }
  refuseCategories(column, value.categories);
  return { number: -1, derive: value.derive, cell, absentIn };
}

function newWindows({ windows, name }: FeatureSchema): FlowWindows {
  if (windows === undefined) {
    throw new FeatureError('features.schema-unsupported', `${name} describes a table, no flows`);
  }
  return 'kind' in windows ? new SlidingWindows(windows) : new LastWindows(windows);
}

function bitOf(name: string): number {
  const value = FLOW_VALUES.get(name);
  return value !== undefined && 'number' in value ? (value.bit ?? 0) : 0;
}

function refuseCategories(
  { name, categories }: FeatureColumn,
  computed: readonly string[] | undefined,
): void {
  if (computed?.join() === categories?.join()) return;
  const message = `${name}: expected ${computed ? `the categories ${computed.join(', ')}` : 'no categories'}`;
  throw new FeatureError('features.schema-unsupported', message);
}
