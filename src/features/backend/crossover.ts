import type { Clock, Milliseconds } from '../../base/index.ts';
import {
  BACKEND_OPERATIONS,
  type BackendOperation,
  type BinColumn,
  type FeatureBackend,
  type FloatTable,
  type Normalisation,
  newReduction,
} from './feature-backend.ts';

/** How long one batch takes: fixed + perRow * rows. */
export interface BatchCost {
  readonly fixedMs: Milliseconds;
  readonly perRowMs: Milliseconds;
}

export interface OperationCrossover {
  readonly cpu: BatchCost;
  readonly gpu: BatchCost;
  /** Rows of `MEASURED_COLUMNS` columns from which on the device is faster; Infinity where it never is. */
  readonly rows: number;
}

export type Crossovers = Readonly<Record<BackendOperation, OperationCrossover>>;

/** Columns of the tables that are measured; a threshold in rows holds for this width. */
export const MEASURED_COLUMNS = 32;
const BINS = 255;
const SEGMENTS = 64;

export interface CrossoverOptions {
  readonly clock: Clock;
  /** Rows of the small and the large batch. */
  readonly rows?: readonly [small: number, large: number];
  /** Each batch is run once to warm up and then so often; the median counts. */
  readonly runs?: number;
}

/** A table to measure and check with: numbers of several magnitudes and signs, one in 16 missing. */
export interface Sample {
  readonly table: FloatTable;
  readonly plan: Normalisation;
  readonly bins: readonly BinColumn[];
  readonly keys: Uint32Array;
}

/**
 * Times both backends on a small and a large batch, and finds where their lines cross. What a device costs is mostly
 * a fixed time a batch (upload, launch, read back), so two sizes tell it.
 */
export async function measureCrossovers(
  cpu: FeatureBackend,
  gpu: FeatureBackend,
  options: CrossoverOptions,
): Promise<Crossovers> {
  const { clock, rows = [256, 8_192], runs = 3 } = options;
  const samples = rows.map(sampleOf) as [Sample, Sample];
  const found = {} as Record<BackendOperation, OperationCrossover>;
  for (const operation of BACKEND_OPERATIONS) {
    const costs: BatchCost[] = [];
    for (const backend of [cpu, gpu]) {
      const times: number[] = [];
      for (const sample of samples) times.push(await timeBatch(backend, operation, sample, { clock, runs }));
      const [small = 0, large = 0] = times;
      const perRowMs = Math.max(0, (large - small) / (rows[1] - rows[0]));
      costs.push({ perRowMs, fixedMs: Math.max(0, small - perRowMs * rows[0]) });
    }
    const [onCpu, onGpu] = costs as [BatchCost, BatchCost];
    found[operation] = { cpu: onCpu, gpu: onGpu, rows: crossing(onCpu, onGpu) };
  }
  return found;
}

/** The least number of rows for which the second is no slower than the first. */
export function crossing(first: BatchCost, second: BatchCost): number {
  const fixed = second.fixedMs - first.fixedMs;
  const gained = first.perRowMs - second.perRowMs;
  if (gained > 0) return Math.max(1, Math.ceil(fixed / gained));
  return fixed <= 0 && gained === 0 ? 1 : Number.POSITIVE_INFINITY;
}

/** Runs one operation of a sample; the result is thrown away. */
export async function runOperation(
  backend: FeatureBackend,
  operation: BackendOperation,
  { table, plan, bins, keys }: Sample,
): Promise<void> {
  if (operation === 'normalise') await backend.normalise(table, plan, new Float32Array(table.values.length));
  else if (operation === 'bin') await backend.bin(table, bins, new Uint8Array(table.rows * bins.length));
  else await backend.reduce(table, keys, newReduction(SEGMENTS, table.columns));
}

export function sampleOf(rows: number): Sample {
  const columns = MEASURED_COLUMNS;
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < values.length; i++) {
    // A low-discrepancy sequence: no random numbers are needed to fill a range evenly.
    const share = (i * 0.618033988749895) % 1;
    values[i] = i % 16 === 5 ? Number.NaN : Math.exp(share * 20) * (i % 3 === 0 ? -0.01 : 1);
  }
  const each = <T>(make: (column: number) => T) => Array.from({ length: columns }, (_, c) => make(c));
  return {
    table: { values, rows, columns },
    plan: {
      log1p: Uint8Array.from(each((c) => c % 2)),
      mean: Float64Array.from(each((c) => (c % 2 === 1 ? 10 : 1e6))),
      deviation: Float64Array.from(each((c) => (c % 2 === 1 ? 4 : 1e8))),
      clip: 8,
    },
    bins: each((column) => ({
      column,
      cuts: Float32Array.from({ length: BINS - 1 }, (_, i) => Math.exp((i * 20) / BINS)),
    })),
    keys: Uint32Array.from({ length: rows }, (_, row) => (row * 7) % SEGMENTS),
  };
}

async function timeBatch(
  backend: FeatureBackend,
  operation: BackendOperation,
  sample: Sample,
  { clock, runs }: { readonly clock: Clock; readonly runs: number },
): Promise<Milliseconds> {
  await runOperation(backend, operation, sample);
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const started = clock.monotonic();
    await runOperation(backend, operation, sample);
    times.push(clock.monotonic() - started);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(runs / 2)] as number;
}
