import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAuditLog } from '../src/audit/index.ts';
import { systemClock } from '../src/base/index.ts';
import { canonicalJson, createFileKeyStore, type KeyStore, sha256Bytes } from '../src/crypto/index.ts';
import { reportBench } from './support/report.ts';

/** Durable appends a second, the log's against what appends and syncs each entry by itself. Notes in README.md. */

const { values } = parseArgs({
  options: {
    appends: { type: 'string', default: '20000' },
    writers: { type: 'string', default: '64' },
    runs: { type: 'string', default: '5' },
    /** On the disk that is to be measured; a memory file system has no sync to speak of. */
    folder: { type: 'string', default: process.cwd() },
  },
});
const [appends, writers, runs] = [Number(values.appends), Number(values.writers), Number(values.runs)];
const root = await mkdtemp(join(values.folder, '.bench-audit-'));

const entry = (n: number) => ({
  kind: 'event' as const,
  action: 'bench.note',
  principal: 'local:0',
  subject: `flow@1.${n}.0`,
  detail: { digest: `sha256:${'ab'.repeat(32)}`, n },
});

/** All writers at once, each with its next append when its last is durable. Gives appends a second. */
async function rate(count: number, append: (n: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (next < count) await append(next++);
    }),
  );
  return (count / (performance.now() - started)) * 1000;
}

async function measureLog(keys: KeyStore, place: string): Promise<number> {
  const log = await openAuditLog({ folder: join(place, 'audit'), keys, clock: systemClock });
  const result = await rate(appends, (n) => log.append(entry(n)));
  await log.close();
  return result;
}

/** One line of JSON after another, each synced before it is answered, in turn: no batch, no tree, no signature. */
async function measureNaive(place: string): Promise<number> {
  const file = await open(join(place, 'log.jsonl'), 'w');
  let line: Promise<unknown> = Promise.resolve();
  const result = await rate(Math.ceil(appends / 5), (n) => {
    line = line.then(async () => {
      await file.appendFile(`${JSON.stringify({ v: 1, time: new Date().toISOString(), ...entry(n) })}\n`);
      await file.datasync();
    });
    return line;
  });
  await file.close();
  return result;
}

/** What nothing can be faster than: milliseconds of one sync, microseconds of the work on one entry. */
async function measureFloor(place: string) {
  const file = await open(join(place, 'floor'), 'w');
  const bytes = Buffer.alloc(writers * 300, 65);
  const syncs: number[] = [];
  for (let i = 0; i < 300; i++) {
    const started = performance.now();
    await file.write(bytes, 0, bytes.length, i * bytes.length);
    await file.datasync();
    syncs.push(performance.now() - started);
  }
  await file.close();
  const timed = (work: (n: number) => unknown) => {
    const started = performance.now();
    for (let n = 0; n < 20_000; n++) work(n);
    return ((performance.now() - started) / 20_000) * 1000;
  };
  const text = Buffer.from(canonicalJson(entry(0)));
  const jsonUs = timed((n) => canonicalJson(entry(n)));
  const hashUs = 2 * timed(() => sha256Bytes(text));
  return { syncMs: median(syncs), jsonUs, hashUs };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

try {
  const secret = { kind: 'file', path: join(root, 'unlock.key') } as const;
  const keys = await createFileKeyStore({ path: join(root, 'keys.json'), secret, clock: systemClock });
  const floor = await measureFloor(root);
  const [log, naive]: [number[], number[]] = [[], []];
  for (let run = -1; run < runs; run++) {
    const place = join(root, `run-${run}`);
    await mkdir(place);
    const pair = [await measureLog(keys, place), await measureNaive(place)] as const;
    await rm(place, { recursive: true });
    // The first pair warms up.
    if (run < 0) continue;
    log.push(pair[0]);
    naive.push(pair[1]);
    process.stdout.write(`log ${pair[0].toFixed(0)}/s, append and sync each ${pair[1].toFixed(0)}/s\n`);
  }
  const [rateLog, rateNaive] = [median(log), median(naive)];
  const round = (value: number, digits = 2) => Number(value.toFixed(digits));
  await reportBench({
    bench: 'audit',
    rows: [
      { what: 'log', writers, appends, runs, appendsPerSecond: round(rateLog, 0) },
      { what: 'naive', writers, appends, runs, appendsPerSecond: round(rateNaive, 0) },
      {
        what: 'floor',
        syncMs: round(floor.syncMs, 3),
        jsonUs: round(floor.jsonUs),
        hashUs: round(floor.hashUs),
      },
    ],
    ratios: { naive: round(rateLog / rateNaive) },
    passed: rateLog >= 3000,
  });
} finally {
  await rm(root, { recursive: true });
}
