import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { auc } from '../../../src/models/index.ts';
import type { BenchData } from './data.ts';

/** One training of one contender; handed to its process as JSON. */
export interface ContenderRun {
  readonly contender: string;
  readonly data: BenchData;
  readonly threads: number;
  readonly rounds: number;
  readonly leaves: number;
  /** Where the predictions of the test rows go: float64, row-major rows x outputs. */
  readonly out: string;
  /** Ours: settings beside those that all share. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface ContenderResult {
  /** Seconds without binning. */
  readonly wall: number;
  readonly cpu: number;
  readonly binningCpu: number;
  readonly memoryMiB: number;
  readonly version: string;
  readonly auc: number;
  readonly logloss: number;
}

/** Trains in a process of its own and measures its predictions, all contenders' alike. */
export async function runContender(run: ContenderRun, python: string): Promise<ContenderResult> {
  const isOurs = run.contender === 'guardian';
  const script = join(import.meta.dirname, isOurs ? 'ours.ts' : 'peer.py');
  const env = { ...process.env, OMP_NUM_THREADS: String(run.threads), PYTHONWARNINGS: 'ignore' };
  const { stdout } = await promisify(execFile)(
    isOurs ? process.execPath : python,
    [script, JSON.stringify(run)],
    { env, maxBuffer: 1 << 24 },
  );
  const measured = JSON.parse(stdout.trim().split('\n').at(-1) as string) as ContenderResult;
  return { ...measured, ...judge(run.data, run.out) };
}

/** Mean over the classes of each one's AUC against the rest, and the mean logistic loss. */
function judge(data: BenchData, out: string): Pick<ContenderResult, 'auc' | 'logloss'> {
  const { rows, testRows, classes, path } = data;
  const labels = readFileSync(`${path}.u8`).subarray(rows, rows + testRows);
  const file = readFileSync(out);
  const outputs = classes === 2 ? 1 : classes;
  const p = new Float64Array(file.buffer.slice(file.byteOffset, file.byteOffset + testRows * outputs * 8));
  let loss = 0;
  for (let r = 0; r < testRows; r++) {
    const label = labels[r] as number;
    const of = outputs === 1 ? (label === 1 ? p[r] : 1 - (p[r] as number)) : p[r * outputs + label];
    loss -= Math.log(Math.max(1e-15, of as number));
  }
  let sum = 0;
  for (let k = 0; k < outputs; k++) {
    const scores = Float64Array.from({ length: testRows }, (_, r) => p[r * outputs + k] as number);
    sum += auc(
      scores,
      labels.map((label) => Number(label === (outputs === 1 ? 1 : k))),
    ).value;
  }
  return { auc: sum / outputs, logloss: loss / testRows };
}
