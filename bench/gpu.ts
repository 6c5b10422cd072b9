import { SeededRandom, silentLogger, systemClock } from '../src/base/index.ts';
import {
  BACKEND_OPERATIONS,
  CpuBackend,
  deriveFromText,
  findDisagreement,
  MEASURED_COLUMNS,
  MeasuredBackend,
  NameFeatures,
  openDevice,
  runOperation,
  sampleOf,
  TEXT_TRANSFORMS,
  WebGpuBackend,
} from '../src/features/index.ts';
import { AGREEMENT, DeviceModel, GpuScoring, ScoringDevice } from '../src/inference/index.ts';
import type { BoostedModel } from '../src/models/index.ts';
import { reportBench } from './support/report.ts';
import { SCORED_COLUMNS, scoredRows, scoringModels } from './support/scoring-models.ts';

/**
 * Scoring by batch size on the CPU and on the adapter of this machine; rows a second of the wide feature operations on the CPU and on the adapter of this machine, the thresholds measured at
 * start, and names a second with and without the cache. Notes in README.md.
 */

const MIB = 1024 * 1024;
const SIZES = [1_024, 16_384, 65_536];
const RUNS = 5;
const BATCHES = [64, 256, 1_024, 4_096, 16_384, 65_536];
/** Milliseconds; where a batch takes longer, larger ones are left out. */
const TOO_LONG = 4_000;

const rows: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
let passed = true;

async function median(work: () => Promise<void> | void): Promise<number> {
  await work();
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return times[RUNS >> 1] as number;
}

async function benchBackends(): Promise<void> {
  const cpu = new CpuBackend();
  const opened = await openDevice();
  const software = opened.device !== undefined && opened.isSoftware;
  if (opened.device === undefined) process.stderr.write(`no GPU: ${opened.reason}; the CPU alone\n`);
  else
    process.stderr.write(
      `${opened.adapter}${software ? ', software: expected to be slower than the CPU' : ''}\n`,
    );
  const gpu = opened.device && new WebGpuBackend(opened.device, { memoryBytes: 256 * MIB });
  for (const operation of BACKEND_OPERATIONS) {
    for (const size of SIZES) {
      const sample = sampleOf(size);
      const onCpu = (size / (await median(() => runOperation(cpu, operation, sample)))) * 1000;
      const row = { operation, rows: size, columns: MEASURED_COLUMNS, cpuRowsPerSecond: Math.round(onCpu) };
      if (gpu === undefined) {
        rows.push(row);
        continue;
      }
      const onGpu = (size / (await median(() => runOperation(gpu, operation, sample)))) * 1000;
      rows.push({ ...row, gpuRowsPerSecond: Math.round(onGpu) });
      if (size === SIZES.at(-1)) ratios[`cpu-${operation}`] = Math.round((onGpu / onCpu) * 100) / 100;
    }
  }
  if (gpu === undefined || opened.device === undefined) return;
  const difference = await findDisagreement(cpu, gpu, sampleOf(8_192));
  if (difference !== undefined) process.stderr.write(`the device disagrees: ${difference}\n`);
  passed = difference === undefined;
  const started = performance.now();
  const measured = await MeasuredBackend.open({
    ...{ gpu, adapter: opened.adapter, clock: systemClock, logger: silentLogger },
  });
  const openMs = Math.round(performance.now() - started);
  for (const [operation, { cpu: a, gpu: b, rows: threshold }] of Object.entries(measured.crossovers)) {
    rows.push({
      operation,
      adapter: opened.adapter,
      thresholdRows: Number.isFinite(threshold) ? threshold : 'never',
      cpuMicrosecondsPerRow: Math.round(a.perRowMs * 1e6) / 1e3,
      gpuMicrosecondsPerRow: Math.round(b.perRowMs * 1e6) / 1e3,
      gpuFixedMilliseconds: Math.round(b.fixedMs * 100) / 100,
      openMilliseconds: openMs,
    });
  }
  measured.close();
}

/** Scoring of one model by batch size, one batch at a time; whether the device gives what the CPU gives. */
async function benchModel(
  name: string,
  model: BoostedModel,
  device: ScoringDevice | undefined,
): Promise<boolean> {
  const values = scoredRows(new SeededRandom(2), BATCHES.at(-1) as number);
  const on = new DeviceModel(model, []);
  const check = device && (await on.check(device));
  let isRight = check?.refused === undefined;
  let crossover: number | 'never' = 'never';
  let isTooLong = false;
  for (const size of BATCHES) {
    const batch = values.subarray(0, size * SCORED_COLUMNS);
    const buffers = () => ({ probability: new Float32Array(size), kind: new Int16Array(size) });
    const [ours, theirs] = [buffers(), buffers()];
    const cpuMs = await median(() => model.score(batch, size, ours));
    const row = {
      model: name,
      rows: size,
      cpuMs: round(cpuMs),
      cpuRowsPerSecond: Math.round((size / cpuMs) * 1e3),
    };
    if (device === undefined || isTooLong) {
      rows.push(row);
      continue;
    }
    const gpuMs = await median(() => on.score(device, batch, size, theirs));
    isTooLong = gpuMs * 4 > TOO_LONG;
    const worst = ours.probability.reduce(
      (most, p, r) => Math.max(most, Math.abs(p - (theirs.probability[r] as number))),
      0,
    );
    const isSame = ours.kind.every((kind, r) => kind === theirs.kind[r]);
    isRight &&= isSame && worst <= (model.parts.novelty === undefined ? 0 : AGREEMENT);
    if (gpuMs >= cpuMs) crossover = 'never';
    else if (crossover === 'never') crossover = size;
    rows.push({
      ...row,
      gpuMs: round(gpuMs),
      gpuRowsPerSecond: Math.round((size / gpuMs) * 1e3),
      largestDifference: worst,
    });
    ratios[`cpu-score-${name}-${size}`] = round(cpuMs / gpuMs);
  }
  if (device !== undefined) {
    const { rows: scored, again } = on.counters;
    rows.push({ model: name, crossoverRows: crossover, scoredAgain: `${again} of ${scored}`, band: on.band });
    on.forget(device);
  }
  return isRight;
}

async function benchScoring(): Promise<boolean> {
  const opened = await openDevice();
  const device = opened.device && new ScoringDevice(opened, 512 * MIB);
  const models = Object.entries(scoringModels(new SeededRandom(1)));
  let isRight = true;
  for (const [name, model] of models) isRight = (await benchModel(name, model, device)) && isRight;
  device?.close();
  if (opened.device === undefined) return isRight;
  // What an engine would decide on this machine, against one thread.
  const gpu = new GpuScoring({ provider: 'webgpu', memoryBytes: 512 * MIB, threads: 1, clock: systemClock });
  for (const [name, model] of models) {
    const started = performance.now();
    await gpu.add(name, model, [model.threshold]);
    const { threshold, reason = '' } = gpu.report.models.find((report) => report.model === name) ?? {};
    if (threshold === undefined) continue;
    rows.push({
      ...{ model: name, adapter: opened.adapter, reason },
      thresholdRows: Number.isFinite(threshold.rows) ? threshold.rows : 'never',
      cpuMicrosecondsPerRow: round(threshold.cpuMicrosecondsPerRow),
      gpuMicrosecondsPerRow: round(threshold.deviceMicrosecondsPerRow),
      gpuFixedMilliseconds: round(threshold.deviceFixedMs),
      openMilliseconds: Math.round(performance.now() - started),
    });
  }
  gpu.close();
  return isRight;
}

function round(x: number): number {
  return Number(x.toPrecision(3));
}

/** Names drawn as resolvers see them: few of them most of the time (Zipf, exponent 1, 20,000 names). */
async function benchNames(): Promise<void> {
  const random = new SeededRandom(1);
  const letters = (n: number) =>
    Array.from({ length: n }, () => String.fromCharCode(random.integer(97, 122))).join('');
  const names = Array.from({ length: 20_000 }, () => `${letters(5)}.${letters(random.integer(6, 20))}.com`);
  const drawn = Array.from(
    { length: 100_000 },
    () => names[Math.floor(names.length ** random.next()) - 1] as string,
  );
  const all = (derive: (name: string, transform: (typeof TEXT_TRANSFORMS)[number]) => number) => () => {
    for (const name of drawn) for (const transform of TEXT_TRANSFORMS) derive(name, transform);
  };
  const anew = await median(all(deriveFromText));
  const cache = new NameFeatures({ budgetBytes: 32 * MIB, logger: silentLogger });
  const kept = await median(all((name, transform) => cache.derive(name, transform)));
  rows.push({
    operation: 'names',
    anewPerSecond: Math.round((drawn.length / anew) * 1000),
    cachedPerSecond: Math.round((drawn.length / kept) * 1000),
    cacheMiB: Math.round((cache.cache.bytes / MIB) * 10) / 10,
  });
  ratios['names-derived-anew'] = Math.round((anew / kept) * 100) / 100;
}

await benchNames();
await benchBackends();
passed = (await benchScoring()) && passed;
process.stdout.write(`${rows.map((row) => JSON.stringify(row)).join('\n')}\n`);
await reportBench({ bench: 'gpu', rows, ratios, passed });
