import { FlowExtractor, loadSchema } from '../../src/features/index.ts';
import type { FlowBatch, FlowRecord, FlowSource } from '../../src/traffic/index.ts';

/** What a source gave: its flows, and their features as the bytes of float32, row-major. */
export interface SourceVectors {
  readonly flows: readonly FlowRecord[];
  readonly names: readonly string[];
  readonly values: Float32Array;
  readonly bytes: Buffer;
}

/** Reads a source to its end through an extractor of its own. */
export async function vectorsOf(
  source: Pick<FlowSource, 'batches'>,
  schema: string,
  signal?: AbortSignal,
): Promise<SourceVectors> {
  const loaded = await loadSchema(schema);
  const extractor = new FlowExtractor(loaded);
  const parts: Float32Array[] = [];
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches(signal) as AsyncIterable<FlowBatch>) {
    parts.push(extractor.extract(batch).values);
    for (const flow of batch.records()) flows.push(flow);
  }
  const bytes = Buffer.concat(
    parts.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength)),
  );
  const values = new Float32Array(bytes.length / 4);
  Buffer.from(values.buffer).set(bytes);
  return { flows, names: loaded.schema.columns.map(({ name }) => name), values, bytes };
}
