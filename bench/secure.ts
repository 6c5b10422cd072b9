import { parseArgs } from 'node:util';
import { SeededRandom } from '../src/base/index.ts';
import { MemoryBus } from '../src/bus/index.ts';
import { layOut } from '../src/training/binning.ts';
import { type AggregationProgress, boost } from '../src/training/boosting.ts';
import { resolveTrainingConfig } from '../src/training/config.ts';
import { DistributedTraining } from '../src/training/distributed/distributed-training.ts';
import type { DropoutPolicy } from '../src/training/distributed/secure-summation.ts';
import { SecureTraining } from '../src/training/distributed/secure-training.ts';
import { applyMask } from '../src/training/secure/masks.ts';
import { startMembers } from '../test/support/secure-house.ts';
import { makeSecureRun } from '../test/support/secure-run.ts';
import { startWorkers } from '../test/support/training-workers.ts';
import { reportBench } from './support/report.ts';

/** What secure aggregation costs: against its own floor, and against the same workers without it. Notes in README.md. */

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000,8000000' },
    columns: { type: 'string', default: '40' },
    members: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '6' },
    leaves: { type: 'string', default: '63' },
    minCellRows: { type: 'string', default: '1' },
    policies: { type: 'string', default: 'wait,survivors' },
  },
});
const [columns, members, rounds] = [Number(values.columns), Number(values.members), Number(values.rounds)];
const BINS = 256;
const config = resolveTrainingConfig({
  ...{ rounds, maxLeaves: Number(values.leaves), patience: 0, rowFraction: 1, featureFraction: 1 },
});

/** Bins directly: what is measured begins behind them. */
function synthesize(rows: number) {
  const random = new SeededRandom(7);
  const bins = new Uint8Array(rows * columns);
  for (let i = 0; i + 4 <= bins.length; i += 4) {
    const word = random.uint32();
    for (let b = 0; b < 4; b++) bins[i + b] = Math.max(1, (word >>> (8 * b)) & 255);
  }
  const labels = Uint8Array.from({ length: rows }, (_, r) => {
    const x = (bins[r] as number) + (bins[rows + r] as number) - (bins[2 * rows + r] as number);
    return x + random.uniform(-80, 80) > 128 ? 1 : 0;
  });
  const cuts = Float32Array.from({ length: BINS - 2 }, (_, i) => i);
  const binning = layOut(Array.from({ length: columns }, (_, column) => ({ column, bins: BINS, cuts })));
  return { binned: { rows, binning, bins }, labels };
}

/** Bytes a second of mask, made and added to a vector of so many bytes: the median of five. */
function maskRate(bytes: number): number {
  const vector = new Int32Array(bytes / 4);
  const count = Math.ceil(2 ** 28 / bytes);
  const rates = Array.from({ length: 6 }, () => {
    const start = process.cpuUsage();
    for (let i = 0; i < count; i++) applyMask(vector, new Uint8Array(32).fill(i), 1);
    return (count * vector.byteLength) / seconds(start);
  });
  // The first one is compiled while it runs.
  return rates.slice(1).sort((a, b) => a - b)[2] as number;
}

function seconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e6;
}

const NEVER = { user: 0, system: 0 };
const table: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
for (const rows of values.rows.split(',').map(Number)) {
  const training = synthesize(rows);
  const options = { config, seed: 5 };
  const start = process.cpuUsage();
  const expected = JSON.stringify((await boost(training, options)).trees);
  const local = seconds(start) / rounds;

  const plainBus = new MemoryBus();
  let progress: AggregationProgress | undefined;
  const marks: number[] = [];
  const house = await startWorkers(plainBus, members, { beatMs: 1_000 });
  const plain = new DistributedTraining({
    bus: plainBus,
    run: 'bench',
    workers: members,
    shards: members,
    leaseMs: 120_000,
  });
  const onProgress = ({ aggregation }: { aggregation?: AggregationProgress }) => {
    progress = aggregation;
    marks.push(seconds(NEVER));
  };
  /** CPU seconds a tree, the first one left out: it carries what is done once. */
  const perTree = () => {
    const spent = ((marks.at(-1) as number) - (marks[0] as number)) / (marks.length - 1);
    marks.length = 0;
    return spent;
  };
  if (JSON.stringify((await plain.booster(training, { ...options, onProgress })).trees) !== expected)
    process.exit(4);
  const plainCpu = perTree();
  const plainBytes = progress?.bytesReceived ?? 0;
  await plain.close();
  await house.close();

  for (const policy of values.policies.split(',') as DropoutPolicy[]) {
    const bus = new MemoryBus();
    const run = makeSecureRun(members);
    const owners = await startMembers(bus, run, training);
    const secure = new SecureTraining({
      ...{ bus, roster: run.roster, policy, minCellRows: Number(values.minCellRows), leaseMs: 120_000 },
    });
    if (JSON.stringify((await secure.booster(training, { ...options, onProgress })).trees) !== expected)
      process.exit(4);
    const secureCpu = perTree();
    const secureBytes = (progress?.bytesReceived ?? 0) + (progress?.bytesSent ?? 0);
    const sums = (progress?.sums ?? 0) / rounds;
    await owners.close();

    // A vector takes a mask for each other member. Those that open a tree by double masking have one of their own, too, which
    // the coordinator takes off again: where all are waited for, once a run, in the tree that is left out.
    const bytes = plainBytes / members / rounds;
    const rootBytes = policy === 'wait' ? 0 : 4 * (2 * columns * BINS + 1);
    const rate = maskRate(Math.floor(bytes / sums / 4) * 4);
    const floor = (members * (members - 1) * bytes + 2 * members * rootBytes) / rate;
    const extra = secureCpu - plainCpu;
    table.push({
      ...{ rows, members, rounds, policy, sums, localCpu: local, plainCpu, secureCpu, floor },
      ...{ maskGiBs: rate / 2 ** 30, plainMiB: plainBytes / 2 ** 20, secureMiB: secureBytes / 2 ** 20 },
      ...{
        overFloor: extra / floor,
        overPlain: secureCpu / plainCpu,
        bytesOverPlain: secureBytes / plainBytes,
      },
    });
    ratios[`plain-${rows}-${policy}`] = plainCpu / secureCpu;
    ratios[`floor-${rows}-${policy}`] = floor / extra;
  }
}
for (const row of table) process.stdout.write(`${JSON.stringify(row)}\n`);
const isMet = table.every(
  ({ rows, overFloor, overPlain, bytesOverPlain }) =>
    Number(overFloor) <= 1.2 &&
    Number(bytesOverPlain) <= 2 &&
    (rows !== 8_000_000 || Number(overPlain) <= 1.5),
);
await reportBench({ bench: 'secure', rows: table, ratios, passed: isMet });
