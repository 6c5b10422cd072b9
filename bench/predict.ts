import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { BoostedModel } from '../src/models/index.ts';
import { makePython } from '../test/support/python-environment.ts';
import { reportBench } from './support/report.ts';
import { readValues, trainBoosted } from './support/train/boosted-model.ts';
import { type BenchData, synthesize } from './support/train/data.ts';

/**
 * Prediction with 100 trees of 63 leaves, one thread: CPU microseconds a row in a batch of 10,000, and the wall's of one row by
 * itself, rows taken in turn. Each contender's own model of the same rows, leaves and rounds. Notes in README.md.
 */

const ROUNDS = 100;
const LEAVES = 63;
const PACKAGES = ['lightgbm', 'xgboost-cpu', 'onnxruntime', 'onnxmltools', 'scikit-learn'];

const python = await makePython({ name: 'predict-bench', packages: PACKAGES });
if (typeof python !== 'string') {
  process.stderr.write(`${python.reason}\n`);
  process.exit(3);
}
const folder = mkdtempSync(join(tmpdir(), 'bench-predict-'));
try {
  const shape = { name: 'binary', rows: 200_000, testRows: 10_000, columns: 40, classes: 2 };
  const data = synthesize(folder, shape, { seed: 1, sharpness: 6 });
  const values = readValues(data);
  const model = await trainBoosted(data, values, {
    ...{ rounds: ROUNDS, leaves: LEAVES, schemaId: `sha256:${'0'.repeat(64)}`, sourceKinds: ['table'] },
  });
  const test = values.slice(data.rows * data.columns);
  const onnx = join(folder, 'model.onnx');
  const { stdout } = await promisify(execFile)(
    python,
    [
      join(import.meta.dirname, 'support/predict/peer.py'),
      JSON.stringify({ data, rounds: ROUNDS, leaves: LEAVES, onnx }),
    ],
    { env: { ...process.env, OMP_NUM_THREADS: '1', PYTHONWARNINGS: 'ignore' }, maxBuffer: 1 << 24 },
  );
  const peers = JSON.parse(stdout.trim().split('\n').at(-1) as string) as Readonly<
    Record<'lightgbm' | 'xgboost' | 'onnxruntime' | 'lightgbmSingle', number>
  > & { readonly versions: Readonly<Record<string, string>> };
  const batch = batchMicroseconds(model, test, data);
  const single = singleMicroseconds(model, test, data);
  const nodeSingle = await onnxMicroseconds(onnx, test, data);
  const ratio = (peer: number, ours: number): number => Number((peer / ours).toFixed(3));
  const row = (contender: string, version: string, batchUs: number | string, singleUs: number | string) => ({
    ...{ contender, version, batchUs, singleUs },
  });
  const show = (x: number): number => Number(x.toFixed(3));
  const { lightgbm = '', xgboost = '', onnxruntime = '' } = peers.versions;
  const best = Math.min(peers.lightgbm, peers.xgboost, peers.onnxruntime);
  await reportBench({
    bench: 'predict',
    rows: [
      row('guardian', process.version, show(batch), show(single)),
      row('lightgbm', lightgbm, show(peers.lightgbm), show(peers.lightgbmSingle)),
      row('xgboost', xgboost, show(peers.xgboost), '-'),
      row('onnxruntime', onnxruntime, show(peers.onnxruntime), '-'),
      row('onnxruntime-node', '1.30.0', '-', show(nodeSingle)),
    ],
    ratios: {
      lightgbm: ratio(peers.lightgbm, batch),
      xgboost: ratio(peers.xgboost, batch),
      onnxruntime: ratio(peers.onnxruntime, batch),
      'onnxruntime-single': ratio(nodeSingle, single),
      'lightgbm-single': ratio(peers.lightgbmSingle, single),
    },
    passed: best / batch >= 3 && single <= 3,
  });
} finally {
  rmSync(folder, { recursive: true });
}

/** CPU time of this process: other work on the machine stretches the wall's. */
function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function batchMicroseconds(model: BoostedModel, test: Float32Array, { testRows }: BenchData): number {
  const out = { probability: new Float32Array(testRows), kind: new Int16Array(testRows) };
  const times: number[] = [];
  for (let reading = -2; reading < 7; reading++) {
    const start = cpuMicroseconds();
    model.score(test, testRows, out);
    if (reading >= 0) times.push((cpuMicroseconds() - start) / testRows);
  }
  return median(times);
}

function singleMicroseconds(
  model: BoostedModel,
  test: Float32Array,
  { testRows, columns }: BenchData,
): number {
  const out = { probability: new Float32Array(1), kind: new Int16Array(1) };
  const views = Array.from({ length: testRows }, (_, r) => test.subarray(r * columns, (r + 1) * columns));
  const times: number[] = [];
  for (let i = -20_000; i < 20_000; i++) {
    const row = views[(i + 20_000) % testRows] as Float32Array;
    const start = process.hrtime.bigint();
    model.score(row, 1, out);
    if (i >= 0) times.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  return median(times);
}

async function onnxMicroseconds(
  path: string,
  test: Float32Array,
  { testRows, columns }: BenchData,
): Promise<number> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });
  const times: number[] = [];
  for (let i = -500; i < 5000; i++) {
    const r = (i + 500) % testRows;
    const start = process.hrtime.bigint();
    await session.run({
      input: new Tensor('float32', test.subarray(r * columns, (r + 1) * columns), [1, columns]),
    });
    if (i >= 0) times.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  return median(times);
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
