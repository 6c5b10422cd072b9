import { parseArgs } from 'node:util';
import { openFlowSource } from '../../src/traffic/open-flow-source.ts';

/** What the bench `flows` runs as a process of its own: a capture into feature vectors of a schema, which are dropped. */
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { schema: { type: 'string', default: 'flow' } },
});
const [capture = ''] = positionals;
const source = await openFlowSource(capture, { maxFlows: 400_000 });
let flows = 0;
let vectors = 0;
if (values.schema === 'none') {
  for await (const batch of source.batches()) flows += batch.rows;
} else {
  const { FlowExtractor } = await import('../../src/features/flow-extractor.ts');
  const { loadSchema } = await import('../../src/features/load-schema.ts');
  const loaded = await loadSchema(values.schema);
  const extractor = new FlowExtractor(loaded);
  const width = loaded.schema.columns.length;
  let out = new Float32Array(0);
  for await (const batch of source.batches()) {
    if (out.length < batch.rows * width) out = new Float32Array(batch.capacity * width);
    vectors += batch.rows - extractor.extractInto(batch, out);
    flows += batch.rows;
  }
}
const { packets, evicted } = source.counters;
process.stdout.write(`${JSON.stringify({ packets, flows, vectors, evicted })}\n`);
