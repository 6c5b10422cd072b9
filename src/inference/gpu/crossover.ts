import { setImmediate } from 'node:timers/promises';
import type { Clock, Milliseconds } from '../../base/index.ts';
import type { DeviceModel } from './device-model.ts';
import type { ScoringDevice } from './scoring-device.ts';

/** From how many rows on a device is faster, and what that rests on. */
export interface RowThreshold {
  /** Infinity where it never is. */
  readonly rows: number;
  readonly cpuMicrosecondsPerRow: number;
  readonly deviceMicrosecondsPerRow: number;
  /** What a batch takes on the device however small it is. */
  readonly deviceFixedMs: Milliseconds;
}

export interface ThresholdOptions {
  readonly clock: Clock;
  /** Threads that score on the CPU side by side. */
  readonly threads: number;
}

const CPU_ROWS = 128;
const SIZES = [1_024, 8_192] as const;
const RUNS = 3;
/** Where the small batch takes so long, nothing is gained by a large one. */
const TOO_LONG: Milliseconds = 200;

/**
 * Times a model on the CPU and on a device, with rows like those of its training. A batch on a device costs a fixed time (upload,
 * launch, read back) and so much a row: two sizes tell both. Rejects `inference.device-lost`.
 */
export async function measureThreshold(
  model: DeviceModel,
  device: ScoringDevice,
  { clock, threads }: ThresholdOptions,
): Promise<RowThreshold> {
  const [small, large] = SIZES;
  const values = model.rows(large);
  const columns = values.length / large;
  const out = { probability: new Float32Array(large), kind: new Int16Array(large) };
  const onCpu = async () => model.scoreOnCpu(values, CPU_ROWS, out);
  const onDevice = (rows: number) => () => model.score(device, values.subarray(0, rows * columns), rows, out);
  const cpuMs = (await best(onCpu, clock)) / CPU_ROWS / Math.max(1, threads);
  const smallMs = await best(onDevice(small), clock);
  const largeMs = smallMs > TOO_LONG ? (smallMs * large) / small : await best(onDevice(large), clock);
  const perRowMs = Math.max(0, (largeMs - smallMs) / (large - small));
  const fixedMs = Math.max(0, smallMs - perRowMs * small);
  return {
    rows: crossingRows(cpuMs, { fixedMs, perRowMs }),
    cpuMicrosecondsPerRow: cpuMs * 1e3,
    deviceMicrosecondsPerRow: perRowMs * 1e3,
    deviceFixedMs: fixedMs,
  };
}

/** The least number of rows for which a batch on the device takes no longer. */
export function crossingRows(
  cpuMsPerRow: Milliseconds,
  { fixedMs, perRowMs }: { readonly fixedMs: Milliseconds; readonly perRowMs: Milliseconds },
): number {
  const gained = cpuMsPerRow - perRowMs;
  return gained > 0 ? Math.max(1, Math.ceil(fixedMs / gained)) : Number.POSITIVE_INFINITY;
}

async function best(work: () => Promise<void>, clock: Clock): Promise<Milliseconds> {
  let least = Number.POSITIVE_INFINITY;
  // The first run warms up, and tells already where everything takes too long.
  for (let run = 0; run <= RUNS; run++) {
    const began = clock.monotonic();
    await work();
    const took = clock.monotonic() - began;
    if (run > 0 || took > TOO_LONG) least = Math.min(least, took);
    if (took > TOO_LONG) break;
    await setImmediate();
  }
  return least;
}
