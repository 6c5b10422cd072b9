import type { LoadedSchema } from '../features/index.ts';
import { generate, LAB_LINK_TYPE, type LabLabels } from '../lab/index.ts';
import { FlowMeter, type FlowRecord, type MeterOptions } from '../traffic/index.ts';
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

function* batchesOf(flows: readonly FlowRecord[]): Generator<readonly FlowRecord[]> {
  for (let from = 0; from < flows.length; from += 4_096) yield flows.slice(from, from + 4_096);
}
