import { FLOW_NUMBER_INDEX as AT, FlowBatch, type FlowRecord } from '../traffic/index.ts';
import { ColumnProgram, PROBLEMS } from './column-program.ts';
import { FeatureError } from './errors.ts';
import type { FeatureBatch, RejectedRow } from './feature-batch.ts';
import { FLOW_VALUES, type FlowDerivation, type FlowValue } from './flow-values.ts';
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

/** Rows that go through all columns before the next ones do: their vectors stay in the cache meanwhile. */
const BLOCK = 64;
const FLOW_MALFORMED = PROBLEMS.indexOf('features.flow-malformed') + 1;

/** Where a program finds its numbers: in the batch, or in the block's cells, where something wrote them before. */
interface Step {
  readonly program: ColumnProgram;
  /** Number column of the batch, -1 where the cells hold it. */
  readonly number: number;
  /** First cell of the column in the block. */
  readonly cell: number;
  readonly derive: FlowDerivation | undefined;
  readonly absentIn: readonly string[];
}

/**
 * Turns flows into feature vectors. The schema is compiled when the extractor is made: each column is one loop over a
 * block of rows, with no look at the schema in it, and nothing is allocated for a row that is sound.
 *
 * It remembers flows for its windows, so one extractor serves one stream of flows, in the order in which they arrive;
 * the same flows in the same order give the same values, however they are cut into batches. Throws
 * `features.schema-unsupported` for a schema it cannot compute.
 */
export class FlowExtractor {
  readonly #loaded: LoadedSchema;
  readonly #steps: readonly Step[];
  readonly #windows: FlowWindows | undefined;
  /** Float64Array, columns x BLOCK: derived values, then those of the windows. */
  readonly #cells: Float64Array;
  readonly #windowCell: number;
  readonly #problems = { codes: new Uint8Array(BLOCK), columns: new Uint16Array(BLOCK) };
  readonly #rejects = new RejectCounts();
  readonly #records = new RecordBatch();
  #flows = 0;

  constructor(loaded: LoadedSchema) {
    const { columns } = loaded.schema;
    this.#loaded = loaded;
    const windows = newWindows(loaded.schema);
    const windowNames = new Map(windows.columns.map((name, index) => [name, index]));
    let cell = 0;
    let fromWindows = 0;
    const derived = columns.filter(({ name }) => {
      if (windowNames.has(name)) fromWindows++;
      return FLOW_VALUES.has(name) && 'derive' in (FLOW_VALUES.get(name) as FlowValue);
    });
    this.#windowCell = derived.length * BLOCK;
    this.#steps = columns.map((column, position): Step => {
      const { name, absentIn = [] } = column;
      const program = new ColumnProgram(column, position);
      const window = windowNames.get(name);
      if (window !== undefined) {
        refuseCategories(column, undefined);
        return { program, number: -1, cell: this.#windowCell + window * BLOCK, derive: undefined, absentIn };
      }
      const value = FLOW_VALUES.get(name);
      if (value === undefined) {
        const message = `no extractor computes the flow column ${name}`;
        throw new FeatureError('features.schema-unsupported', message);
      }
      if ('number' in value) {
        refuseCategories(column, undefined);
        return { program, number: AT[value.number], cell: -1, derive: undefined, absentIn };
      }
      refuseCategories(column, value.categories);
      return { program, number: -1, cell: BLOCK * cell++, derive: value.derive, absentIn };
    });
    this.#windows = fromWindows === 0 ? undefined : windows;
    this.#cells = new Float64Array(this.#windowCell + windows.columns.length * BLOCK);
  }

  get counters(): FlowExtractorCounters {
    const { remembered = 0, forgotten = 0 } = this.#windows ?? {};
    const counts = (of: (program: ColumnProgram) => number) =>
      Object.fromEntries(
        this.#steps
          .filter(({ program }) => of(program) > 0)
          .map(({ program }) => [program.column.name, of(program)]),
      );
    return {
      flows: this.#flows,
      rejects: this.#rejects,
      clipped: counts((program) => program.clipped),
      madeMissing: counts((program) => program.madeMissing),
      missing: counts((program) => program.missing),
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
    const columns = this.#steps.length;
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
    const expected = batch.rows * this.#steps.length;
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
    let refused = 0;
    for (let from = 0; from < batch.rows; from += BLOCK) {
      const rows = Math.min(BLOCK, batch.rows - from);
      if (!this.#extractBlock(batch, from, rows, out)) refused += this.#refuse(from, rows, out, rejected);
      this.#flows += rows;
    }
    return refused;
  }

  /** Returns whether all rows were sound. */
  #extractBlock(batch: FlowBatch, from: number, rows: number, out: Float32Array): boolean {
    const { numbers, capacity, sourceKind } = batch;
    const cells = this.#cells;
    const problems = this.#problems;
    const windows = this.#windows;
    const stride = this.#steps.length;
    const starts = AT.start_ms * capacity + from;
    const ends = AT.end_ms * capacity + from;
    for (let row = 0; row < rows; row++) {
      // Infinity minus itself is NaN, too.
      const span = (numbers[ends + row] as number) - (numbers[starts + row] as number);
      const isSound = span - span === 0;
      problems.codes[row] = isSound ? 0 : FLOW_MALFORMED;
      if (isSound && windows !== undefined)
        windows.add(batch, from + row, cells, this.#windowCell + row, BLOCK);
    }
    for (const { program, number, cell, derive, absentIn } of this.#steps) {
      const to = from * stride;
      if (absentIn.length > 0 && absentIn.includes(sourceKind)) program.writeAbsent(rows, out, to, stride);
      else if (number >= 0) {
        program.write(numbers, number * capacity + from, rows, out, to, stride, problems);
      } else {
        derive?.(batch, from, from + rows, cells, cell);
        program.write(cells, cell, rows, out, to, stride, problems);
      }
    }
    for (let row = 0; row < rows; row++) if (problems.codes[row] !== 0) return false;
    return true;
  }

  /** Empties the rows of a block that have a problem, and counts them. */
  #refuse(from: number, rows: number, out: Float32Array, rejected: RejectedRow[] | undefined): number {
    const { codes, columns } = this.#problems;
    const width = this.#steps.length;
    let refused = 0;
    for (let row = 0; row < rows; row++) {
      const problem = codes[row] as number;
      if (problem === 0) continue;
      refused++;
      const code = PROBLEMS[problem - 1] as RejectedRow['code'];
      const column =
        problem === FLOW_MALFORMED ? '' : (this.#steps[columns[row] as number]?.program.column.name ?? '');
      out.fill(Number.NaN, (from + row) * width, (from + row + 1) * width);
      this.#rejects.add(this.#flows + row + 1, code, column);
      rejected?.push({ row: from + row, code, column });
    }
    return refused;
  }
}

function newWindows({ windows, name }: FeatureSchema): FlowWindows {
  if (windows === undefined) {
    throw new FeatureError('features.schema-unsupported', `${name} describes a table, no flows`);
  }
  return 'kind' in windows ? new SlidingWindows(windows) : new LastWindows(windows);
}

function refuseCategories(
  { name, categories }: FeatureColumn,
  computed: readonly string[] | undefined,
): void {
  if (computed?.join() === categories?.join()) return;
  const message = `${name}: expected ${computed ? `the categories ${computed.join(', ')}` : 'no categories'}`;
  throw new FeatureError('features.schema-unsupported', message);
}
