import { parseArgs } from 'node:util';
import { SeededRandom } from '../src/base/index.ts';
import { MemoryBus } from '../src/bus/index.ts';
import { layOut } from '../src/training/binning.ts';
import { type AggregationProgress, boost } from '../src/training/boosting.ts';
import { resolveTrainingConfig } from '../src/training/config.ts';
import { DistributedTraining } from '../src/training/distributed/distributed-training.ts';
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
    rounds: { type: 'string', default: '3' },
    leaves: { type: 'string', default: '63' },
    minCellRows: { type: 'string', default: '1' },
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

/** Bytes a second of mask, made and added. */
function maskRate(): number {
  const vector = new Int32Array(1 << 22);
  const start = process.cpuUsage();
  for (let i = 0; i < 20; i++) applyMask(vector, new Uint8Array(32).fill(i), 1);
  return (20 * vector.byteLength) / seconds(start);
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

  const bus = new MemoryBus();
  let progress: AggregationProgress | undefined;
  const marks: number[] = [];
  const house = await startWorkers(bus, members, { beatMs: 1_000 });
  const plain = new DistributedTraining({
    bus,
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

  const run = makeSecureRun(members);
  const owners = await startMembers(bus, run, training);
  const secure = new SecureTraining({
    bus,
    roster: run.roster,
    minCellRows: Number(values.minCellRows),
    leaseMs: 120_000,
  });
  if (JSON.stringify((await secure.booster(training, { ...options, onProgress })).trees) !== expected)
    process.exit(4);
  const secureCpu = perTree();
  const secureBytes = (progress?.bytesReceived ?? 0) + (progress?.bytesSent ?? 0);
  await owners.close();

  // Each member adds a mask for each other one and one of its own; the coordinator takes the own ones off again.
  const masks = members * members + members;
  const rate = maskRate();
  const floor = (masks * (plainBytes / members / rounds)) / rate;
  const extra = secureCpu - plainCpu;
  table.push({
    ...{ rows, members, rounds, localCpu: local, plainCpu, secureCpu, floor, maskGiBs: rate / 2 ** 30 },
    ...{ plainMiB: plainBytes / 2 ** 20, secureMiB: secureBytes / 2 ** 20 },
    ...{
      overFloor: extra / floor,
      overPlain: secureCpu / plainCpu,
      bytesOverPlain: secureBytes / plainBytes,
    },
  });
  ratios[`plain-${rows}`] = plainCpu / secureCpu;
  ratios[`floor-${rows}`] = floor / extra;
}
for (const row of table) process.stdout.write(`${JSON.stringify(row)}\n`);
const isMet = table.every((row) => Number(row.overFloor) <= 1.2 && Number(row.bytesOverPlain) <= 2);
await reportBench({ bench: 'secure', rows: table, ratios, passed: isMet });
