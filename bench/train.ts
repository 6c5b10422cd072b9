import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makePython } from '../test/support/python-environment.ts';
import { reportBench } from './support/report.ts';
import { type BenchData, publicData, synthesize } from './support/train/data.ts';
import { type ContenderResult, runContender } from './support/train/run.ts';

/** Training time against LightGBM, XGBoost and scikit-learn on the same rows. Notes in README.md. */

const { values } = parseArgs({
  options: {
    /** One run of each instead of five. */
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    /** Data sets, by comma: binary, multiclass, nsl-kdd, kdd99. */
    data: { type: 'string', default: 'binary,multiclass,nsl-kdd,kdd99' },
    threads: { type: 'string', default: '1,2' },
    /** Contenders beside ours, by comma. */
    peers: { type: 'string', default: 'lightgbm-quantized,lightgbm,xgboost,sklearn' },
    rounds: { type: 'string', default: '100' },
    /** Settings of ours, as JSON. */
    settings: { type: 'string', default: '{}' },
  },
});
const runs = Number(values.runs ?? (values.quick ? 1 : 5));
const LEAVES = 63;
/** Loss and AUC may be worse than the best peer's by this much. */
const QUALITY = 0.0005;
/** Least ratios asked of the two synthetic sets. */
const FLOORS: Readonly<Record<string, number>> = {
  'lightgbm-quantized': 1.6,
  xgboost: 1.3,
  'lightgbm-quantized-2t': 1.3,
  'xgboost-2t': 1.05,
  'lightgbm-quantized-multiclass': 1.1,
  'lightgbm-multiclass': 1.1,
  'xgboost-multiclass': 1.1,
  'sklearn-multiclass': 1.1,
};

const python = await makePython({
  name: 'train-bench',
  packages: ['lightgbm', 'xgboost-cpu', 'scikit-learn'],
});
if (typeof python !== 'string') {
  process.stderr.write(`${python.reason}\n`);
  process.exit(3);
}
const folder = mkdtempSync(join(tmpdir(), 'bench-train-'));
const rows: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
let passed = true;
try {
  for (const name of values.data.split(',')) {
    const data = await open(name);
    if (data === undefined) continue;
    for (const threads of values.threads.split(',').map(Number)) await measure(data, threads, python);
  }
} finally {
  rmSync(folder, { recursive: true });
}
for (const [key, floor] of Object.entries(FLOORS)) {
  if (ratios[key] !== undefined && ratios[key] < floor) passed = false;
}
await reportBench({ bench: 'train', rows, ratios, passed });

async function open(name: string): Promise<BenchData | undefined> {
  if (name === 'binary') {
    const shape = { name, rows: 1_000_000, testRows: 100_000, columns: 40, classes: 2 };
    return synthesize(folder, shape, { seed: 1, sharpness: 6 });
  }
  if (name === 'multiclass') {
    const shape = { name, rows: 200_000, testRows: 50_000, columns: 80, classes: 5 };
    return synthesize(folder, shape, { seed: 2, sharpness: 6 });
  }
  const file = name === 'kdd99' ? 'kdd99-10pct/kddcup.data_10_percent.gz' : 'nsl-kdd/KDDTrain+.txt.gz';
  return await publicData(folder, name, file);
}

/** All contenders in turn, so that all meet the same machine; medians of the runs. */
async function measure(data: BenchData, threads: number, interpreter: string): Promise<void> {
  const results = new Map<string, ContenderResult[]>();
  const contenders = ['guardian', ...values.peers.split(',')];
  for (let run = 0; run < runs; run++) {
    for (const contender of contenders) {
      const shared = { contender, data, threads, rounds: Number(values.rounds), leaves: LEAVES };
      const out = join(folder, 'predictions');
      const more = JSON.parse(values.settings) as Record<string, unknown>;
      const result = await runContender({ ...shared, out, more }, interpreter);
      results.set(contender, [...(results.get(contender) ?? []), result]);
      process.stderr.write(`${data.name} ${threads}t ${contender} ${JSON.stringify(result)}\n`);
    }
  }
  const middle = (contender: string, key: keyof Omit<ContenderResult, 'version'>): number =>
    median((results.get(contender) ?? []).map((result) => result[key]));
  for (const contender of contenders) {
    const round = (key: keyof Omit<ContenderResult, 'version'>, digits: number): number =>
      Number(middle(contender, key).toFixed(digits));
    rows.push({
      data: data.name,
      rounds: Number(values.rounds),
      runs,
      threads,
      contender,
      version: results.get(contender)?.[0]?.version ?? '',
      ...{
        cpuSeconds: round('cpu', 2),
        wallSeconds: round('wall', 2),
        binningCpuSeconds: round('binningCpu', 2),
      },
      ...{ memoryMiB: round('memoryMiB', 0), auc: round('auc', 5), logloss: round('logloss', 5) },
    });
  }
  const peers = contenders.slice(1);
  // Of one thread CPU seconds count, which other work on the machine disturbs less; of two, the wall's.
  const key = threads === 1 ? 'cpu' : 'wall';
  const suffix = `${data.name === 'binary' ? '' : `-${data.name}`}${threads === 1 ? '' : `-${threads}t`}`;
  for (const peer of peers)
    ratios[`${peer}${suffix}`] = Number((middle(peer, key) / middle('guardian', key)).toFixed(3));
  const best = Math.min(...peers.map((peer) => middle(peer, 'logloss')));
  const bestAuc = Math.max(...peers.map((peer) => middle(peer, 'auc')));
  if (middle('guardian', 'logloss') > best + QUALITY || middle('guardian', 'auc') < bestAuc - QUALITY)
    passed = false;
  if (peers.includes('lightgbm') && middle('guardian', 'memoryMiB') > 1.2 * middle('lightgbm', 'memoryMiB'))
    passed = false;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
