import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkSchema, FlowExtractor, type LoadedSchema, loadSchema } from '../src/features/index.ts';
import { writeLab } from '../src/lab/index.ts';
import { FlowBatch, openFlowSource } from '../src/traffic/index.ts';
import { NaiveExtractor } from '../test/support/naive-extractor.ts';
import { reportBench } from './support/report.ts';

/** Rows of a batch, as a meter hands them out. */
const ROWS = 504;
const RUNS = 5;
/** Rows the naive twin is given: it looks at a key's whole past for each. */
const NAIVE_ROWS = 4_096;
const WANTED = { without: 1_500_000, with: 300_000 } as const;

/** Flows of the lab as our meter gives them. */
async function labFlows(): Promise<FlowBatch[]> {
  const folder = await mkdtemp(join(tmpdir(), 'features-bench-'));
  try {
    const out = join(folder, 'lab.pcap');
    await writeLab({ out, labels: join(folder, 'lab.csv'), seed: 77, seconds: 300 });
    const batches: FlowBatch[] = [];
    let batch = new FlowBatch('packets', ROWS);
    for await (const flows of (await openFlowSource(out, {})).batches()) {
      for (const record of flows.records()) {
        batch.append(record);
        if (batch.rows < ROWS) continue;
        batches.push(batch);
        batch = new FlowBatch('packets', ROWS);
      }
    }
    return batches;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** CPU seconds a row of one pass over the batches. Each is copied into one that stays in the cache, as a meter's does. */
function secondsPerRow(
  extractor: FlowExtractor,
  batches: readonly FlowBatch[],
  laterMs: number,
  out: Float32Array,
): number {
  const hot = new FlowBatch('packets', ROWS);
  hot.rows = ROWS;
  let micros = 0;
  for (const { identity, numbers } of batches) {
    hot.identity.set(identity);
    hot.numbers.set(numbers);
    for (const name of ['start_ms', 'end_ms'] as const) {
      const times = hot.column(name);
      for (let row = 0; row < ROWS; row++) times[row] = (times[row] as number) + laterMs;
    }
    const before = process.threadCpuUsage();
    extractor.extractInto(hot, out);
    const { user, system } = process.threadCpuUsage(before);
    micros += user + system;
  }
  return micros / 1e6 / (batches.length * ROWS);
}

/** Median of the passes after the first; one extractor goes on through all of them, an hour of traffic time apart. */
function measure(
  schema: LoadedSchema,
  batches: readonly FlowBatch[],
): { perRow: number; bytesPerRow: number } {
  const extractor = new FlowExtractor(schema);
  const out = new Float32Array(ROWS * schema.schema.columns.length);
  const times: number[] = [];
  for (let run = 0; run <= RUNS; run++) times.push(secondsPerRow(extractor, batches, run * 3_600_000, out));
  const before = process.memoryUsage().heapUsed;
  const [batch] = batches;
  for (let i = 0; i < 200 && batch !== undefined; i++) extractor.extractInto(batch, out);
  const bytesPerRow = Math.max(0, process.memoryUsage().heapUsed - before) / (200 * ROWS);
  return { perRow: times.slice(1).sort((a, b) => a - b)[RUNS >> 1] as number, bytesPerRow };
}

function naiveSecondsPerRow(schema: LoadedSchema, batches: readonly FlowBatch[]): number {
  const records = batches.flatMap((batch) => batch.records()).slice(0, NAIVE_ROWS);
  const twin = new NaiveExtractor(schema);
  const before = process.threadCpuUsage();
  for (const record of records) twin.extract(record);
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1e6 / records.length;
}

const flow = await loadSchema('flow');
const isOfWindows = (name: string) => /^(src|dst|srv|pair|dst_srv)_/.test(name);
const columns = flow.schema.columns.filter(({ name }) => !isOfWindows(name));
const schemas = {
  without: checkSchema({ ...flow.schema, columns }),
  with: flow,
  'flow-core': await loadSchema('flow-core'),
};
const batches = await labFlows();
const rows = [];
const ratios: Record<string, number> = {};
let passed = true;
for (const [name, schema] of Object.entries(schemas)) {
  const { perRow, bytesPerRow } = measure(schema, batches);
  const perSecond = Math.round(1 / perRow);
  if (name in WANTED) {
    ratios[`naive, ${name} windows`] = Number((naiveSecondsPerRow(schema, batches) / perRow).toFixed(1));
    passed &&= perSecond >= WANTED[name as keyof typeof WANTED];
  }
  rows.push({
    schema: name === 'flow-core' ? name : `flow ${name} windows`,
    columns: schema.schema.columns.length,
    flows: batches.length * ROWS,
    'vectors a second': perSecond,
    'ns a vector': Math.round(perRow * 1e9),
    'heap bytes a row': Number(bytesPerRow.toFixed(2)),
  });
}
await reportBench({ bench: 'features', rows, ratios, passed });
