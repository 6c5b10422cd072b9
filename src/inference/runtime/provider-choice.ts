import type { ProviderTrial } from './frames.ts';

/** A graph loaded by one provider. Values: Float32Array, row-major; writes one number a row. */
export interface GraphSession {
  run(values: Float32Array, rows: number, given: Float32Array): Promise<void>;
}

export interface ProviderChoice<S extends GraphSession> {
  readonly provider: string;
  readonly cpu: S;
  /** The provider's; absent where the CPU computes everything. */
  readonly device?: S;
  readonly fromRows: number;
  readonly trials: readonly ProviderTrial[];
}

export interface ProviderQuestion<S extends GraphSession> {
  /** In the order of preference, the CPU not among them. */
  readonly candidates: readonly string[];
  /** The only candidate is to be used whatever it costs, as long as it is right. */
  readonly isAsked: boolean;
  readonly open: (provider: string) => Promise<S>;
  readonly columns: number;
  readonly batchRows: number;
  readonly link: 'probability' | 'margin';
  readonly now: () => number;
}

/** How far a probability may lie from the CPU's. */
export const AGREEMENT = 1e-5;
const RUNS = 5;

/**
 * Loads the graph for the CPU and tries the candidates beside it: one that differs from the CPU is never used, one that is
 * slower only where it was asked for. The first that is faster from some number of rows on is taken.
 */
export async function chooseProvider<S extends GraphSession>(
  question: ProviderQuestion<S>,
): Promise<ProviderChoice<S>> {
  const { candidates, open, batchRows, isAsked } = question;
  const cpu = await open('cpu');
  const trials: ProviderTrial[] = [];
  for (const provider of candidates) {
    let trial: ProviderTrial;
    try {
      const device = await open(provider);
      trial = await tryOut(provider, cpu, device, question);
      const fromRows = trial.refused === undefined ? fasterFrom(trial, isAsked, batchRows) : undefined;
      if (fromRows !== undefined) {
        return { provider, cpu, device, fromRows, trials: [...trials, trial] };
      }
      trial = { refused: 'slower than the CPU', ...trial };
    } catch (error) {
      trial = { provider, refused: error instanceof Error ? reasonIn(error.message) : 'it failed' };
    }
    trials.push(trial);
  }
  return { provider: 'cpu', cpu, fromRows: 1, trials };
}

/** Of what the runtime says, without where in its own source it says so. */
function reasonIn(message: string): string {
  return message
    .replace(/^\/\S+\.cc:\d+ .* was false\. /s, '')
    .trim()
    .slice(0, 200);
}

async function tryOut<S extends GraphSession>(
  provider: string,
  cpu: S,
  device: S,
  { columns, batchRows, link, now }: ProviderQuestion<S>,
): Promise<ProviderTrial> {
  const values = sampleValues(batchRows, columns);
  const [ours, theirs] = [new Float32Array(batchRows), new Float32Array(batchRows)];
  await cpu.run(values, batchRows, ours);
  await device.run(values, batchRows, theirs);
  const difference = largestDifference(ours, theirs, link);
  // A NaN on one side only is a difference, too.
  if (!(difference <= AGREEMENT)) {
    return { provider, difference, refused: `differs from the CPU by ${difference}` };
  }
  const times = [];
  for (const rows of new Set([1, Math.min(64, batchRows), batchRows])) {
    const some = values.subarray(0, rows * columns);
    const cpuMs = await median(() => cpu.run(some, rows, ours), now);
    times.push({ rows, cpuMs, ms: await median(() => device.run(some, rows, theirs), now) });
  }
  return { provider, difference, times };
}

/** The least measured size from which on the device is faster; undefined where it is not at the largest. */
function fasterFrom({ times = [] }: ProviderTrial, isAsked: boolean, batchRows: number): number | undefined {
  if (isAsked) return 1;
  let from: number | undefined;
  for (const { rows, cpuMs, ms } of times.toReversed()) {
    if (ms >= cpuMs) break;
    from = Math.min(rows, batchRows);
  }
  return from;
}

function largestDifference(
  a: Float32Array,
  b: Float32Array,
  link: ProviderQuestion<GraphSession>['link'],
): number {
  const shown = (x: number) => (link === 'margin' ? 1 / (1 + Math.exp(-x)) : x);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    const difference = Math.abs(shown(x) - shown(y));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

async function median(run: () => Promise<void>, now: () => number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const began = now();
    await run();
    times.push(now() - began);
  }
  return times.sort((x, y) => x - y)[RUNS >> 1] as number;
}

/** Numbers of several magnitudes and signs; a low-discrepancy sequence fills a range evenly without random numbers. */
function sampleValues(rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const share = (i * 0.618033988749895) % 1;
    return Math.expm1(share * (i % 5)) * (i % 7 === 0 ? -1 : 1);
  });
}
