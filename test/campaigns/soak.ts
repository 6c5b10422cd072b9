import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { FloodCounts } from '../../bench/support/serve/flood.ts';
import { floodFrom } from '../../bench/support/serve/flood-process.ts';
import { startGuardianServer } from '../../bench/support/serve/guardian-server.ts';
import { inferMessage } from '../../bench/support/serve/infer-message.ts';
import { trainServedModel } from '../../bench/support/served-model.ts';
import { sha256 } from '../../src/crypto/index.ts';
import { BoostedModel, encodeModel } from '../../src/models/index.ts';
import type { Candidate } from '../../src/registry/index.ts';
import { type Bar, printVerdict } from '../support/campaign-verdict.ts';
import { type Sample, slopeOf } from '../support/slope.ts';

/**
 * `npm run campaign -- soak [--minutes 30] [--json]`: 1,000 single events a second as JSON while the model is swapped every ten
 * seconds, by promotion of one of two versions, and another one is loaded, asked and unloaded every minute.
 */

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
const RATE = 1_000;
const CONNECTIONS = 32;
const SWAP_EVERY_S = 10;
const LOAD_EVERY_S = 60;
const LOOP_P99_MS = 20;
const WARM_UP_S = 20;
/** Of the run, from its begin: memory that is still being taken for the first time. */
const SETTLING = 0.25;

const { values: flags } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, json: { type: 'boolean', default: false } },
});
const seconds = Number(flags.minutes) * 60;
const folder = mkdtempSync(join(tmpdir(), 'soak-'));
const loopFile = join(folder, 'loop.json');
process.env.LOOP_PROBE = loopFile;
const probe = fileURLToPath(new URL('../support/loop-probe.mjs', import.meta.url));
const { candidate, model, values } = await trainServedModel(folder);
// The same trees with another bias: another version, as a training of the next day would be.
const second = withModel(candidate, new BoostedModel({ ...model.parts, bias: model.parts.bias + 0.01 }));
const other: Candidate = { ...candidate, name: 'other' };
const options = process.env.NODE_OPTIONS;
process.env.NODE_OPTIONS = `${options ?? ''} --import=${pathToFileURL(probe)}`.trim();
const server = await startGuardianServer(folder, candidate, { core: SERVER_CORE, others: [other, second] });
if (options === undefined) delete process.env.NODE_OPTIONS;
else process.env.NODE_OPTIONS = options;
try {
  const { port, key } = server;
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return await answer.json();
  };
  const columns = model.columnNames.length;
  const headers = `host: 127.0.0.1:${port}\r\nauthorization: Bearer ${key}\r\n`;
  const requests = Array.from({ length: 2_048 }, (_, r) =>
    inferMessage(candidate.name, headers, values.subarray(r * columns, (r + 1) * columns)),
  );
  const { models } = (await call('GET', '/v1/models')) as {
    readonly models: readonly { readonly name: string; readonly version: string }[];
  };
  const versions = models.filter(({ name }) => name === candidate.name).map(({ version }) => version);
  if (versions.length !== 2) throw new Error(`expected two versions, got ${versions.join()}`);

  const memory: Sample[] = [];
  const done = { swaps: 0, loads: 0 };
  const trouble: string[] = [];
  const over = new AbortController();
  const began = performance.now();
  const every = async (period: number, work: () => Promise<void>): Promise<void> => {
    for (let n = 1; ; n++) {
      const wait = began + (WARM_UP_S + n * period) * 1_000 - performance.now();
      await sleep(Math.max(0, wait), undefined, { signal: over.signal }).catch(() => undefined);
      if (over.signal.aborted) return;
      await work().catch((error: unknown) => trouble.push(String(error)));
    }
  };
  const swap = async (): Promise<void> => {
    const version = versions[done.swaps % 2] as string;
    await call('POST', `/v1/models/${candidate.name}/promote`, { version });
    const told = (await call('GET', `/v2/models/${candidate.name}`)) as { readonly versions: string[] };
    if (!told.versions.includes(version)) trouble.push(`${version} was promoted and does not serve`);
    done.swaps++;
  };
  const loadAndUnload = async (): Promise<void> => {
    await call('POST', `/v2/repository/models/${other.name}/load`);
    const data = Array.from(values.subarray(0, columns));
    const input = { name: 'features', datatype: 'FP32', shape: [1, columns], data };
    await call('POST', `/v2/models/${other.name}/infer`, { inputs: [input] });
    await call('POST', `/v2/repository/models/${other.name}/unload`);
    done.loads++;
  };
  const sample = async (): Promise<void> => {
    memory.push({ at: (performance.now() - began) / 60_000, value: server.memoryMiB() });
  };
  const cpuBefore = server.cpuS();
  const side = [every(SWAP_EVERY_S, swap), every(LOAD_EVERY_S, loadAndUnload), every(1, sample)];
  const progress = setInterval(() => {
    const last = memory.at(-1)?.value.toFixed(0);
    process.stderr.write(
      `${done.swaps} swaps, ${done.loads} loads, ${last} MiB, load ${loadavg()[0]?.toFixed(1)}\n`,
    );
  }, 60_000);
  const { phases } = await floodFrom(GENERATOR_CORE, {
    ...{ kind: 'flood', port, seed: 1 },
    streams: [{ name: 'live', requests, connections: CONNECTIONS, depth: RATE }],
    phases: [
      { name: 'warm-up', seconds: WARM_UP_S, rates: [RATE] },
      { name: 'soak', seconds, rates: [RATE] },
    ],
  });
  clearInterval(progress);
  over.abort();
  await Promise.all(side);
  const counts = phases[1]?.[0] as FloodCounts;
  const settled = memory.slice(Math.floor(memory.length * SETTLING));
  const slope = slopeOf(settled);
  const loop = JSON.parse(readFileSync(loopFile, 'utf8')) as Record<'p50' | 'p99' | 'max', number>;
  const lost = counts.failed + counts.refused + counts.unsent + trouble.length;
  const mib = (value: number) => Number(value.toFixed(2));
  const bars: Bar[] = [
    {
      bar: 'no request failed',
      got: `${counts.sent} sent, ${counts.good} answered, ${counts.refused} refused, ${counts.failed} failed, ${counts.unsent} unsent; ${done.swaps} swaps and ${done.loads} loads, ${trouble.length} failed${[
        counts.firstFailure,
        ...trouble,
      ]
        .filter(Boolean)
        .slice(0, 3)
        .map((why) => `; ${why}`)
        .join('')}`,
      passed: lost === 0 && counts.good === counts.sent,
    },
    {
      bar: 'resident memory grows within noise (95 % interval of the slope, block means)',
      got: `${mib(slope.perUnit)} MiB a minute (${mib(slope.low)} to ${mib(slope.high)}), ${mib(settled[0]?.value ?? Number.NaN)} to ${mib(settled.at(-1)?.value ?? Number.NaN)} MiB`,
      passed: slope.low <= 0,
    },
    {
      bar: `event loop late by at most ${LOOP_P99_MS} ms at p99`,
      got: `p50 ${mib(loop.p50)}, p99 ${mib(loop.p99)}, most ${mib(loop.max)} ms`,
      passed: loop.p99 <= LOOP_P99_MS,
    },
  ];
  const row = {
    ...{ minutes: seconds / 60, sent: counts.sent, good: counts.good, refused: counts.refused },
    ...{ failed: counts.failed, p50: counts.p50, p99: counts.p99, max: counts.max },
    ...{ swaps: done.swaps, loads: done.loads, loopP99: mib(loop.p99) },
    cpuPercent: mib(((server.cpuS() - cpuBefore) / (seconds + WARM_UP_S)) * 100),
    ...{ reasons: JSON.stringify(counts.reasons), load: Number(loadavg()[0]?.toFixed(1)) },
  };
  const everyMinute = settled.filter((_, i) => i % 60 === 0).map(({ value }) => Math.round(value));
  printVerdict('soak', { rows: [row], memoryMiB: everyMinute }, bars, flags.json);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

function withModel(from: Candidate, changed: BoostedModel): Candidate {
  const modelBytes = encodeModel(changed);
  const gateReport = { ...from.gateReport, modelDigest: sha256(modelBytes) };
  return { ...from, modelBytes, gateReport };
}
