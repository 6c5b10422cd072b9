import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { LoadedSchema } from '../features/index.ts';
import { generate, LAB_LINK_TYPE, type LabLabels } from '../lab/index.ts';
import { FlowBatch, FlowMeter, type FlowRecord, type MeterOptions } from '../traffic/index.ts';
import { type LabelledTable, labelFlows } from '../training/index.ts';

/** What one run of the lab is for. No two runs share a seed. */
export interface LabSlice {
  readonly seed: number;
  readonly seconds: number;
}

export interface LabFlows {
  readonly flows: readonly FlowRecord[];
  readonly labels: LabLabels;
  readonly packets: number;
}

export interface MeterLabOptions {
  readonly meter: Partial<MeterOptions>;
  readonly signal: AbortSignal;
  /** Share of the traffic that is generated, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

const TURN_EVERY = 8_192;

/** Generates traffic and meters it, packet by packet, without a file between. */
export async function meterLab(slice: LabSlice, options: MeterLabOptions): Promise<LabFlows> {
  const run = generate(slice);
  const meter = new FlowMeter(options.meter);
  const flows: FlowRecord[] = [];
  for (const { bytes, timeMs, wireLength } of run.packets()) {
    meter.add(bytes, LAB_LINK_TYPE, timeMs, wireLength);
    if (meter.counters.packets % TURN_EVERY !== 0) continue;
    // One by one: a spread of many thousand arguments overflows the stack.
    for (const flow of meter.drain()) flows.push(flow);
    options.onProgress((timeMs - run.originMs) / (slice.seconds * 1000));
    await new Promise((resolve) => setImmediate(resolve));
    options.signal.throwIfAborted();
  }
  for (const flow of meter.finish()) flows.push(flow);
  return { flows, labels: run.labels(), packets: meter.counters.packets };
}

/** What a thread that makes one table is started with. */
export interface LabTableTask {
  readonly slice: LabSlice;
  /** Name of the schema. */
  readonly schema: string;
  readonly meter: Partial<MeterOptions>;
}

/** Runs of the lab at a time, each in a thread of its own. */
const THREADS = Math.max(1, Math.min(4, availableParallelism()));

/** Labelled rows of several runs of the lab, in the order of the slices. */
export async function labTables(
  slices: readonly LabSlice[],
  schema: string,
  options: MeterLabOptions,
): Promise<LabelledTable[]> {
  const tables: LabelledTable[] = [];
  let next = 0;
  let done = 0;
  const run = async (): Promise<void> => {
    for (let i = next++; i < slices.length; i = next++) {
      tables[i] = await inWorker(
        { slice: slices[i] as LabSlice, schema, meter: options.meter },
        options.signal,
      );
      options.onProgress(++done / slices.length);
    }
  };
  await Promise.all(Array.from({ length: THREADS }, run));
  return tables;
}

function inWorker(task: LabTableTask, signal: AbortSignal): Promise<LabelledTable> {
  signal.throwIfAborted();
  const worker = new Worker(new URL('./lab-table-worker.ts', import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    const stop = () => {
      reject(signal.reason);
      void worker.terminate();
    };
    signal.addEventListener('abort', stop, { once: true });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => signal.removeEventListener('abort', stop));
  });
}

/** Labelled rows of one run of the lab. */
export async function labTable(
  slice: LabSlice,
  schema: LoadedSchema,
  options: MeterLabOptions,
): Promise<LabelledTable> {
  const { flows, labels } = await meterLab(slice, options);
  return labelFlows({
    batches: batchesOf(flows),
    schema,
    labelOf: (flow) => labels.labelOf(flow),
    weightOf: (flow) => labels.weightOf(flow),
  });
}

function* batchesOf(flows: readonly FlowRecord[]): Generator<FlowBatch> {
  for (let from = 0; from < flows.length; from += 4_096)
    yield FlowBatch.from(flows.slice(from, from + 4_096), 'packets');
}
