import type { Digest } from '../base/index.ts';
import { FlowExtractor, type LoadedSchema } from '../features/index.ts';
import type { FlowBatch, FlowRecord } from '../traffic/index.ts';
import { TrainingError } from './errors.ts';
import type { LabelledTable } from './labelled-table.ts';

/** The label of everything that is no attack. */
const BENIGN = 'benign';
/** Values held at most: 2 GB. */
const MAX_VALUES = 500_000_000;

export interface LabelledFlowsInput {
  /** Flows of one source, in the order in which it gives them. */
  readonly batches: AsyncIterable<FlowBatch> | Iterable<FlowBatch>;
  /** A schema of kind flows. */
  readonly schema: LoadedSchema;
  /** `benign` or the kind of attack. */
  readonly labelOf: (flow: FlowRecord) => string;
  /** Weight of a flow in training; 1 where absent. */
  readonly weightOf?: (flow: FlowRecord) => number;
  /** Of the data the flows came from. */
  readonly digest?: Digest;
  readonly onBatch?: (flows: number) => void;
  /** Told at the end how many flows the schema refused, by code and column. */
  readonly onRejects?: (rejects: Readonly<Record<string, number>>) => void;
}

/**
 * Rows for training from flows, by the very extractor that serves live traffic. Flows the schema refuses are left
 * out. Throws training.table-invalid when there are too many.
 */
export async function labelFlows(input: LabelledFlowsInput): Promise<LabelledTable> {
  const { schema, labelOf, weightOf, digest } = input;
  const extractor = new FlowExtractor(schema);
  const columns = schema.schema.columns.length;
  const typeNames = [BENIGN];
  const types: number[] = [];
  const times: number[] = [];
  const weights: number[] = [];
  const episodes: number[] = [];
  const episodeOf = new Map<string, number>();
  const parts: Float32Array[] = [];
  const sourceKinds = new Set<string>();
  for await (const flows of input.batches) {
    const records = flows.records();
    sourceKinds.add(flows.sourceKind);
    const batch = extractor.extract(flows);
    const refused = new Set(batch.rejected.map(({ row }) => row));
    for (const [row, flow] of records.entries()) {
      if (refused.has(row)) continue;
      const label = labelOf(flow);
      let type = typeNames.indexOf(label);
      if (type === -1) type = typeNames.push(label) - 1;
      types.push(type);
      times.push(flow.endMs);
      const episode = `${flow.sourceAddress} ${type}`;
      if (!episodeOf.has(episode)) episodeOf.set(episode, episodeOf.size);
      episodes.push(episodeOf.get(episode) as number);
      if (weightOf !== undefined) weights.push(weightOf(flow));
      parts.push(batch.values.slice(row * columns, (row + 1) * columns));
    }
    if (types.length * columns > MAX_VALUES) {
      throw new TrainingError(
        'training.table-invalid',
        `expected at most ${MAX_VALUES} values, got more than ${types.length} flows of ${columns}`,
      );
    }
    input.onBatch?.(types.length);
  }
  input.onRejects?.(extractor.counters.rejects.byReason);
  const values = new Float32Array(types.length * columns);
  for (const [row, part] of parts.entries()) values.set(part, row * columns);
  return {
    rows: types.length,
    columns,
    values,
    labels: Uint8Array.from(types, (type) => (type === 0 ? 0 : 1)),
    typeIndex: Uint16Array.from(types),
    typeNames,
    times: Float64Array.from(times),
    episodes: Uint32Array.from(episodes),
    sourceKinds: [...sourceKinds],
    ...(weightOf === undefined ? {} : { weights: Float32Array.from(weights) }),
    ...(digest === undefined ? {} : { digest }),
  };
}
