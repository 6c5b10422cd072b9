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
import { reportBench } from './support/report.ts';

/**
 * Rows a second of the wide feature operations on the CPU and on the adapter of this machine, the thresholds measured at
 * start, and names a second with and without the cache. Notes in README.md.
 */

const MIB = 1024 * 1024;
const SIZES = [1_024, 16_384, 65_536];
const RUNS = 5;

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
process.stdout.write(`${rows.map((row) => JSON.stringify(row)).join('\n')}\n`);
await reportBench({ bench: 'gpu', rows, ratios, passed });
