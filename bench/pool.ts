import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { silentLogger, systemClock } from '../src/base/index.ts';
import { connectNats, sealBus } from '../src/bus/index.ts';
import { Seal } from '../src/bus/seal.ts';
import { SecretBuffer } from '../src/crypto/index.ts';
import type { FeatureBatch } from '../src/features/index.ts';
import { Engine } from '../src/inference/index.ts';
import { threadEvidence } from '../src/registry/index.ts';
import { startNats } from '../test/support/nats.ts';
import { reportBench } from './support/report.ts';
import { makeServedModel } from './support/served-model.ts';

/**
 * What it costs to have workers over a sealed bus score, beside threads of this process, by the size of a request: rows a second by
 * the wall with eight requests under way, and microseconds of the main thread a row. In turn, medians of three after one. A server of NATS and each
 * worker are processes of their own. Notes in README.md.
 */

/** What fits into one batch is scored at once and here, unless its model costs more than two ways over the bus. */
const SIZES = [2_048, 4_096, 8_192];
const LANES = 8;
const ROUNDS = 3;
const ROWS_A_ROUND = 65_536;
const MAIN = new URL('../src/cli/main.ts', import.meta.url).pathname;

const folder = mkdtempSync(join(tmpdir(), 'bench-pool-'));
const workers: ChildProcess[] = [];
const nats = await startNats();
try {
  const { verified, values, rows } = await makeServedModel(folder);
  const { schemaId, model } = verified;
  const columns = model.columnNames.length;
  const keyFile = join(folder, 'bus.key');
  const trustFile = join(folder, 'trust.pem');
  writeFileSync(keyFile, new Uint8Array(32).fill(1), { mode: 0o600 });
  const [signer] = threadEvidence(verified)?.trusted ?? [];
  writeFileSync(trustFile, signer !== undefined && 'publicKeyPem' in signer ? signer.publicKeyPem : '');

  const config = { maxConcurrentRequests: 1_024, timeoutMs: 60_000 };
  const threads = new Engine({ clock: systemClock, config: { ...config, workers: 1 } });
  await threads.load(verified);
  await threads.start();
  const pooled = new Engine({
    clock: systemClock,
    isShared: true,
    config: { ...config, workers: 0, pool: 'bus' },
  });
  await pooled.load(verified);
  const bus = await sealBus(await connectNats({ server: nats.server }), keyFile);
  pooled.joinWorkers(bus, silentLogger);

  const found: Record<string, string | number>[] = [];
  const alone = new Engine({ clock: systemClock, config: { ...config, workers: 0 } });
  await alone.load(verified);
  const sides: [string, Engine][] = [
    ['this thread', alone],
    ['a thread', threads],
  ];
  for (const count of [1, 2]) {
    const args = ['--bus', nats.server, '--bus-key-file', keyFile, '--trust', trustFile, '--id', `w${count}`];
    workers.push(await startWorker(args));
    while (pooled.remote?.workers !== count) await new Promise((resolve) => setTimeout(resolve, 100));
    const here: [string, Engine] = [`${count} over the bus`, pooled];
    for (const size of SIZES) {
      for (const [what, engine] of count === 1 ? [...sides, here] : [here]) {
        const { rate, main } = await measure(engine, size);
        found.push({ what, rows: size, rowsPerSecond: Math.round(rate), mainMicroseconds: round(main) });
      }
    }
  }
  const remote = pooled.remote;
  if (remote !== undefined) {
    const { answered, lost, refused, local } = remote;
    found.push({ what: 'batches over the bus', answered, lost, refused, local });
  }
  await threads.close();
  await pooled.close();
  await bus.close();
  for (const bytes of [1_024, 168_000]) found.push({ what: 'seal and open', ...sealCost(bytes) });
  const of = (what: string, size: number, key: 'rowsPerSecond' | 'mainMicroseconds') =>
    Number(found.find((row) => row.what === what && row.rows === size)?.[key] ?? Number.NaN);
  await reportBench({
    bench: 'pool',
    rows: found,
    ratios: Object.fromEntries(
      SIZES.map((size) => [
        `rows a second by one worker over those by a thread, ${size}`,
        round(of('1 over the bus', size, 'rowsPerSecond') / of('a thread', size, 'rowsPerSecond')),
      ]),
    ),
    passed: remote !== undefined && remote.answered > 0,
  });

  async function measure(engine: Engine, size: number): Promise<{ rate: number; main: number }> {
    const batches = Array.from(
      { length: Math.floor(rows / size) },
      (_, i): FeatureBatch => ({
        ...{ schemaId, sourceKind: 'packets', rows: size, columns, rejected: [] },
        values: values.subarray(i * size * columns, (i + 1) * size * columns),
      }),
    );
    const count = Math.max(LANES, Math.floor(ROWS_A_ROUND / size));
    const lane = async (first: number) => {
      for (let i = first; i < count; i += LANES) {
        await engine.scoreColumns(batches[i % batches.length] as FeatureBatch);
      }
    };
    const rates: number[] = [];
    const mains: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const [began, cpu] = [performance.now(), process.threadCpuUsage()];
      await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first)));
      const { user, system } = process.threadCpuUsage(cpu);
      if (round === 0) continue;
      rates.push((count * size * 1_000) / (performance.now() - began));
      mains.push((user + system) / (count * size));
    }
    return { rate: median(rates), main: median(mains) };
  }
} finally {
  for (const worker of workers) {
    worker.kill('SIGTERM');
    await once(worker, 'exit');
  }
  await nats.close();
  rmSync(folder, { recursive: true, force: true });
}

/** CPU microseconds of a frame. */
function sealCost(bytes: number): { bytes: number; microseconds: number } {
  const seal = new Seal(SecretBuffer.random(32));
  const data = new Uint8Array(readFileSync(process.execPath).subarray(0, bytes));
  const frames = Math.max(500, Math.floor(20_000_000 / bytes));
  const costs: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const cpu = process.threadCpuUsage();
    for (let i = 0; i < frames; i++) seal.open('request', 'a.b', seal.seal('request', 'a.b', data));
    const { user, system } = process.threadCpuUsage(cpu);
    if (round > 0) costs.push((user + system) / frames);
  }
  return { bytes, microseconds: round(median(costs)) };
}

async function startWorker(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [MAIN, 'worker', '--role', 'inference', '--threads', '1', '--json', ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if ((JSON.parse(line) as { type: string }).type === 'worker.ready') resolve();
    });
  });
  return child;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function round(value: number): number {
  return Number(value.toFixed(3));
}
