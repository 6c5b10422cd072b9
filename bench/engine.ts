import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/index.ts';
import type { FeatureBatch } from '../src/features/index.ts';
import { Engine } from '../src/inference/index.ts';
import { reportBench } from './support/report.ts';
import { makeServedModel } from './support/served-model.ts';

/**
 * What the engine adds to its model: CPU microseconds of one event and of a row in batches of 1,024, by the model alone and through
 * the engine; and what the main thread pays for a row that a thread scores. Medians of seven after two. Notes in README.md.
 */

const BATCH = 1_024;
const SINGLES = 20_000;
const BATCHES = 64;
const LANES = 8;

const folder = mkdtempSync(join(tmpdir(), 'bench-engine-'));
try {
  const { verified, values, rows } = await makeServedModel(folder);
  const { schemaId, model } = verified;
  const columns = model.columnNames.length;
  const part = (from: number, count: number): FeatureBatch => ({
    ...{ schemaId, sourceKind: 'packets', rows: count, columns, rejected: [] },
    values: values.subarray(from * columns, (from + count) * columns),
  });
  // Taken in turn: one row again and again would have its branches foretold.
  const singles = Array.from({ length: rows }, (_, row) => part(row, 1));
  const batches = Array.from({ length: rows / BATCH }, (_, i) => part(i * BATCH, BATCH));
  const batchOf = (i: number) => batches[i % batches.length] as FeatureBatch;
  const singleOf = (i: number) => singles[i % rows] as FeatureBatch;

  const out = { probability: new Float32Array(BATCH), kind: new Int16Array(BATCH) };
  const modelSingle = await measure(SINGLES, (i) => model.score(singleOf(i).values, 1, out));
  const modelRow = await measure(BATCHES, (i) => model.score(batchOf(i).values, BATCH, out), BATCH);

  const inline = new Engine({ clock: systemClock, config: { workers: 0 } });
  await inline.load(verified);
  const single = await measure(SINGLES, (i) => inline.scoreColumns(singleOf(i)));
  const described = await measure(SINGLES, (i) => inline.score(singleOf(i)));
  const row = await measure(BATCHES, (i) => inline.scoreColumns(batchOf(i)), BATCH);

  const pooled = new Engine({ clock: systemClock, config: { workers: 1, maxConcurrentRequests: 1_024 } });
  await pooled.load(verified);
  await pooled.start();
  // So many at a time: more would stand in the queue longer than it is to stand, and be shed.
  const flood = async () => {
    const lane = async (first: number) => {
      for (let i = first; i < BATCHES; i += LANES) await pooled.scoreColumns(batchOf(i));
    };
    await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first)));
  };
  const mainRow = await measure(1, flood, BATCHES * BATCH, () => process.threadCpuUsage());
  const wall = await measure(1, flood, BATCHES * BATCH, () => ({
    user: performance.now() * 1_000,
    system: 0,
  }));
  const alone = await measure(
    BATCHES,
    (i) => pooled.scoreColumns(batchOf(i)),
    1,
    () => ({
      ...{ user: performance.now() * 1_000, system: 0 },
    }),
  );
  await pooled.close();

  const show = (microseconds: number): number => Number(microseconds.toFixed(3));
  await reportBench({
    bench: 'engine',
    rows: [
      { what: 'model, one row', microseconds: show(modelSingle) },
      { what: 'engine, one row in columns', microseconds: show(single) },
      { what: 'engine, one row described', microseconds: show(described) },
      { what: 'model, a row of 1,024', microseconds: show(modelRow) },
      { what: 'engine, a row of 1,024', microseconds: show(row) },
      { what: 'thread, a row of 1,024, main thread CPU', microseconds: show(mainRow) },
      { what: 'thread, a row of 1,024, wall under load', microseconds: show(wall) },
      { what: 'thread, a batch of 1,024, wall alone', microseconds: show(alone) },
    ],
    ratios: { 'one-row': show(modelSingle / single), 'batch-row': show(modelRow / row) },
    // Two microseconds a row, all in, leave room for a quarter of a million rows a second on one core.
    passed: row <= 2.5 && single <= 8 && mainRow <= 0.3,
  });
} finally {
  rmSync(folder, { recursive: true });
}

/** Microseconds of `times` calls, a unit. */
async function measure(
  times: number,
  call: (i: number) => unknown,
  units = 1,
  read: () => { user: number; system: number } = () => process.cpuUsage(),
): Promise<number> {
  const readings: number[] = [];
  for (let reading = -2; reading < 7; reading++) {
    const before = read();
    for (let i = 0; i < times; i++) await call(i + (reading + 2) * 997);
    const after = read();
    const spent = after.user + after.system - before.user - before.system;
    if (reading >= 0) readings.push(spent / times / units);
  }
  return readings.sort((a, b) => a - b)[3] as number;
}
