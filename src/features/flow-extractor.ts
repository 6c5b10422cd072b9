import type { FlowRecord } from '../traffic/index.ts';
import { ColumnCodec } from './column-codec.ts';
import { FeatureError } from './errors.ts';
import type { FeatureBatch, RejectedRow } from './feature-batch.ts';
import { FLOW_CATEGORIES, FLOW_COLUMNS, FLOW_INDEX } from './flow-columns.ts';
import { FlowHistory } from './flow-history.ts';
import { writeFlowValues } from './flow-values.ts';
import { FlowWindows } from './flow-windows.ts';
import { RejectCounts } from './reject-counts.ts';
import type { LoadedSchema } from './schema.ts';

export interface FlowExtractorCounters {
  readonly flows: number;
  readonly rejects: RejectCounts;
  /** Flows remembered for the windows now, and those already pushed out. */
  readonly remembered: number;
  readonly forgotten: number;
}

/**
 * Turns flows into feature vectors. It remembers the last flows for its windows, so one extractor serves one
 * stream of flows, in the order in which they arrive; the same flows in the same order give the same values,
 * however they are cut into batches. Throws `features.schema-unsupported` for a schema it cannot compute.
 *
 * Memory: about 110 bytes a remembered flow in typed arrays, and the texts of the live addresses.
 */
export class FlowExtractor {
  readonly #loaded: LoadedSchema;
  readonly #codecs: readonly ColumnCodec[];
  /** Position in the scratch row, by column. */
  readonly #sources: Int32Array;
  readonly #history: FlowHistory;
  readonly #windows: FlowWindows;
  readonly #scratch = new Float64Array(FLOW_COLUMNS.length);
  readonly #rejects = new RejectCounts();
  #flows = 0;

  constructor(loaded: LoadedSchema) {
    const { windows, columns, name } = loaded.schema;
    if (windows === undefined) {
      throw new FeatureError('features.schema-unsupported', `${name} describes a table, no flows`);
    }
    this.#loaded = loaded;
    this.#codecs = columns.map((column) => new ColumnCodec(column));
    this.#sources = Int32Array.from(columns, (column) => positionOf(column.name, column.categories));
    this.#history = new FlowHistory(windows.historyFlows);
    this.#windows = new FlowWindows(this.#history, windows);
  }

  get counters(): FlowExtractorCounters {
    const { size, forgotten } = this.#history;
    return { flows: this.#flows, rejects: this.#rejects, remembered: size, forgotten };
  }

  /**
   * One row a flow, in the same order. The batch is of the source kind of its first flow, which the schema must
   * allow (else `features.batch-malformed`), and a row of another kind is refused; an empty batch is of the
   * schema's first kind.
   */
  extract(flows: readonly FlowRecord[]): FeatureBatch {
    const columns = this.#codecs.length;
    const values = new Float32Array(flows.length * columns);
    const rejected: RejectedRow[] = [];
    const sourceKind = this.#sourceKindOf(flows);
    for (let row = 0; row < flows.length; row++) {
      const flow = flows[row] as FlowRecord;
      const reject = this.#extractRow(flow, sourceKind, values, row);
      if (reject !== undefined) rejected.push(reject);
    }
    return { schemaId: this.#loaded.id, sourceKind, rows: flows.length, columns, values, rejected };
  }

  #extractRow(
    flow: FlowRecord,
    sourceKind: string,
    values: Float32Array,
    row: number,
  ): RejectedRow | undefined {
    const columns = this.#codecs.length;
    const base = row * columns;
    this.#flows++;
    if (!isSound(flow) || flow.sourceKind !== sourceKind) {
      values.fill(Number.NaN, base, base + columns);
      return this.#reject(row, 'features.flow-malformed', '');
    }
    const scratch = this.#scratch;
    writeFlowValues(flow, scratch);
    this.#windows.write(this.#history.push(flow), scratch);
    for (let c = 0; c < columns; c++) {
      const codec = this.#codecs[c] as ColumnCodec;
      const raw = scratch[this.#sources[c] as number] as number;
      if (Number.isNaN(raw)) values[base + c] = codec.fromNothing();
      else if (codec.column.type === 'category') values[base + c] = raw;
      else values[base + c] = codec.fromNumber(raw);
      if (codec.problem !== undefined) {
        const code = codec.problem;
        codec.problem = undefined;
        values.fill(Number.NaN, base, base + columns);
        return this.#reject(row, code, codec.column.name);
      }
    }
    return undefined;
  }

  #reject(row: number, code: RejectedRow['code'], column: string): RejectedRow {
    this.#rejects.add(this.#flows, code, column);
    return { row, code, column };
  }

  #sourceKindOf(flows: readonly FlowRecord[]): string {
    const { sourceKinds } = this.#loaded.schema;
    const kind = flows[0]?.sourceKind ?? sourceKinds[0] ?? '';
    if (sourceKinds.includes(kind)) return kind;
    const message = `expected flows of a source kind of ${sourceKinds.join(', ')}, got ${kind}`;
    throw new FeatureError('features.batch-malformed', message);
  }
}

function isSound(flow: FlowRecord): boolean {
  const { protocol, destinationPort } = flow;
  return (
    Number.isFinite(flow.startMs) &&
    Number.isFinite(flow.endMs) &&
    Number.isInteger(protocol) &&
    protocol >= 0 &&
    protocol <= 255 &&
    Number.isInteger(destinationPort) &&
    destinationPort >= 0 &&
    destinationPort <= 65_535
  );
}

function positionOf(name: string, categories: readonly string[] | undefined): number {
  const position = Object.hasOwn(FLOW_INDEX, name) ? FLOW_INDEX[name as keyof typeof FLOW_INDEX] : undefined;
  if (position === undefined) {
    throw new FeatureError('features.schema-unsupported', `no extractor computes the flow column ${name}`);
  }
  const computed = FLOW_CATEGORIES[name];
  if (computed?.join() !== categories?.join()) {
    const message = `${name}: expected ${computed ? `the categories ${computed.join(', ')}` : 'no categories'}`;
    throw new FeatureError('features.schema-unsupported', message);
  }
  return position;
}
