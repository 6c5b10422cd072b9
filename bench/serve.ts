import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exportOnnx } from '../src/models/index.ts';
import { reportBench } from './support/report.ts';
import { type Disturbance, disturbedBy, watchCore } from './support/serve/disturbance.ts';
import { startGuardianServer } from './support/serve/guardian-server.ts';
import type { LoadResult } from './support/serve/load.ts';
import { highestRate, startGenerator } from './support/serve/load-generator.ts';
import { startMlServer } from './support/serve/mlserver.ts';
import type { PinnedProcess } from './support/serve/pinned-process.ts';
import { trainServedModel } from './support/served-model.ts';

/**
 * `guardian serve` on one core, the generator on the other: single events at 1,000/s, the highest rates with p99 <= 100 ms as JSON
 * and in batches, gRPC, and MLServer with the same trees. Headlines are medians of three runs. A run in which the generator was late
 * itself, or something else had the server's core, is repeated, and said so. Notes in README.md. `--profile FOLDER` has the server's
 * CPU profile written.
 */

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
const MACHINE_CORES = 2;
const CONNECTIONS = 64;
const BATCH = 1_024;
const P99_MS = 100;
const TRIAL_S = 5;
const STEADY_S = 20;
/** Runs of a headline; the median of each of their figures counts. */
const RUNS = 3;
/** Times that a run is made anew because of what was not the server. */
const REPEATS = 2;
/** The search ends within this share of the rate. */
const PRECISION = 0.05;
/** Steps down from the rate that was found, where the median of its runs does not pass. */
const STEPS_DOWN = 6;
/** Not counted, before everything else of its kind. */
const WARM_UP = { seconds: 10, events: 4_000, batches: 100, peer: 100 };
/** gRPC: calls that wait at a time. */
const IN_FLIGHT = 32;
const GRPC_S = 5;

const { values: flags } = parseArgs({ options: { profile: { type: 'string' } } });
const folder = mkdtempSync(join(tmpdir(), 'bench-serve-'));
const generator = startGenerator(GENERATOR_CORE);
const running: PinnedProcess[] = [];
const rows: Record<string, string | number>[] = [];
try {
  const { candidate, model, values, rows: held } = await trainServedModel(folder);
  const columns = model.columnNames.length;
  const rowAt = (r: number, count: number) => values.subarray(r * columns, (r + count) * columns);
  const server = await startGuardianServer(folder, candidate, {
    core: SERVER_CORE,
    ...(flags.profile !== undefined && { profileFolder: flags.profile }),
  });
  running.push(server);
  const path = `/v2/models/${candidate.name}/infer`;
  const headers = `host: 127.0.0.1:${server.port}\r\nauthorization: Bearer ${server.key}\r\n`;
  const singles = Array.from({ length: 2_048 }, (_, r) => jsonRequest(path, headers, rowAt(r, 1)));
  const batches = Array.from({ length: held / BATCH }, (_, i) =>
    binaryRequest(path, headers, rowAt(i * BATCH, BATCH)),
  );
  let seed = 1;
  const load = (port: number, requests: readonly Uint8Array[], rate: number, seconds: number) =>
    generator.run({ kind: 'http', port, requests, rate, seconds, connections: CONNECTIONS, seed: seed++ });
  type Asked = PinnedProcess & { readonly port: number };
  /** A run with the server's CPU time an answer, us: what other work on the machine takes from the run is not in it. */
  const metered = async (of: Asked, requests: readonly Uint8Array[], rate: number, seconds: number) => {
    for (let repeat = 0; ; repeat++) {
      const before = of.cpuS();
      const look = watchCore(SERVER_CORE, of);
      const result = await load(of.port, requests, rate, seconds);
      const cpuS = of.cpuS() - before;
      const disturbance = look();
      const why = disturbedBy(result, disturbance);
      if (why === undefined || repeat === REPEATS) {
        const cpuUs = Math.round((cpuS / result.answered) * 1e6);
        return { ...result, cpuUs, cpuS, ...disturbance, ...(why !== undefined && { disturbed: why }) };
      }
      process.stderr.write(`once more: at ${rate}/s ${why} (p99 ${result.p99} ms)\n`);
    }
  };
  /** The median of each figure of some runs. */
  const settled = async (
    what: string,
    of: Asked,
    requests: readonly Uint8Array[],
    { rate, seconds }: { readonly rate: number; readonly seconds: number },
  ): Promise<MeteredResult> => {
    const runs: MeteredResult[] = [];
    for (let run = 0; run < RUNS; run++) {
      const result = await metered(of, requests, rate, seconds);
      note(`${what} at ${rate}/s`, result);
      runs.push(result);
    }
    return medianOf(runs);
  };
  const doesPass = ({ failed, p99 }: LoadResult) => failed === 0 && p99 <= P99_MS;
  /** The highest rate whose runs pass by their medians; 0 where none does. */
  const best = async (what: string, of: Asked, requests: readonly Uint8Array[], from: number) => {
    const found = await highestRate(from, PRECISION, async (at) => {
      const result = await metered(of, requests, at, TRIAL_S);
      note(`${what} at ${at}/s`, result);
      return doesPass(result);
    });
    for (let step = 0, rate = found; ; step++, rate = Math.round(rate * (1 - PRECISION))) {
      const result = await settled(what, of, requests, { rate, seconds: TRIAL_S });
      if (doesPass(result)) return { rate, result };
      if (step === STEPS_DOWN || rate === 0) return { rate: 0, result };
    }
  };
  const warmUp = async (port: number, requests: readonly Uint8Array[], rate: number) => {
    const { answered, firstFailure } = await load(port, requests, rate, WARM_UP.seconds);
    if (answered === 0) throw new Error(`expected answers, got ${firstFailure ?? 'none'}`);
  };

  await warmUp(server.port, singles, WARM_UP.events);
  const steady = await settled('JSON', server, singles, { rate: 1_000, seconds: STEADY_S });
  const cpuShare = steady.cpuS / (STEADY_S * MACHINE_CORES);
  const memory = server.memoryMiB();
  rows.push({
    ...row('guardian, JSON at 1,000/s', steady),
    ...{ cpuPercent: Number((cpuShare * 100).toFixed(2)), memoryMiB: Math.round(memory) },
  });

  const json = await best('JSON', server, singles, 8_000);
  rows.push(row('guardian, JSON, highest', json.result));

  await warmUp(server.port, batches, WARM_UP.batches);
  const binary = await best('batches', server, batches, 160);
  const events = binary.rate * BATCH;
  rows.push({ ...row(`guardian, batches of ${BATCH}, highest`, binary.result), events });

  const floats = Array.from({ length: 2_048 }, (_, r) => bytesOf(rowAt(r, 1)));
  for (const kind of ['unary', 'stream'] as const) {
    const order = { kind, target: server.grpc, key: server.key, model: candidate.name, rows: floats };
    await generator.run({ ...order, seconds: GRPC_S, inFlight: IN_FLIGHT });
    const before = server.cpuS();
    const result = await generator.run({ ...order, seconds: GRPC_S, inFlight: IN_FLIGHT });
    note(`gRPC ${kind}`, result);
    const cpuUs = Math.round(((server.cpuS() - before) / result.answered) * 1e6);
    rows.push(row(`guardian, gRPC ${kind}, closed loop`, { ...result, cpuUs }));
  }

  const ratios: Record<string, number> = {};
  const peer = await startMlServer(folder, exportOnnx(model.parts), {
    core: SERVER_CORE,
    name: candidate.name,
  });
  let isLower = false;
  if ('reason' in peer) process.stderr.write(`MLServer is left out: ${peer.reason}\n`);
  else {
    running.push(peer);
    await warmUp(peer.port, singles, WARM_UP.peer);
    const theirs = await best('MLServer', peer, singles, 400);
    rows.push(row('MLServer, JSON, highest', theirs.result));
    // Where it has room: at its highest rate it would lose by its queue alone.
    const equal = Math.round(theirs.rate / 2);
    const order = { rate: equal, seconds: TRIAL_S };
    const theirEqual = await settled('MLServer', peer, singles, order);
    const ourEqual = await settled('JSON', server, singles, order);
    rows.push(row(`MLServer, JSON at ${equal}/s`, theirEqual), row(`guardian, JSON at ${equal}/s`, ourEqual));
    ratios.mlserver = Number((json.rate / theirs.rate).toFixed(2));
    ratios['mlserver-p99'] = Number((theirEqual.p99 / ourEqual.p99).toFixed(2));
    ratios['mlserver-cpu'] = Number((theirEqual.cpuUs / ourEqual.cpuUs).toFixed(2));
    isLower = ourEqual.p99 < theirEqual.p99;
  }
  const isSteady = steady.failed === 0 && steady.p99 <= 5 && steady.p999 <= 20;
  await reportBench({
    bench: 'serve',
    rows: rows.map((each) => ({ ...each, load: Number(loadavg()[0]?.toFixed(1)) })),
    ratios,
    passed: [
      isSteady,
      cpuShare <= 0.05 && memory <= 250,
      json.rate >= 12_000 && events >= 250_000,
      'reason' in peer || ((ratios.mlserver ?? 0) >= 10 && isLower),
    ].every(Boolean),
  });
} finally {
  await generator.stop();
  for (const each of running) await each.stop();
  rmSync(folder, { recursive: true, force: true });
}

function jsonRequest(path: string, headers: string, row: Float32Array): Uint8Array {
  const data = Array.from(row);
  const input = { name: 'features', datatype: 'FP32', shape: [1, row.length], data };
  const body = Buffer.from(JSON.stringify({ inputs: [input] }));
  return message(path, `${headers}content-type: application/json\r\n`, body);
}

function binaryRequest(path: string, headers: string, part: Float32Array): Uint8Array {
  const blob = bytesOf(part);
  const shape = [BATCH, part.length / BATCH];
  const parameters = { binary_data_size: blob.length };
  const json = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [{ name: 'features', datatype: 'FP32', shape, parameters }],
    }),
  );
  const own = `content-type: application/octet-stream\r\ninference-header-content-length: ${json.length}\r\n`;
  return message(path, headers + own, Buffer.concat([json, blob]));
}

function message(path: string, headers: string, body: Uint8Array): Uint8Array {
  const head = `POST ${path} HTTP/1.1\r\n${headers}content-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
}

interface MeteredResult extends LoadResult, Disturbance {
  readonly cpuUs: number;
  readonly cpuS: number;
  /** What was not the server, where the run could not be had without it. */
  readonly disturbed?: string;
}

function medianOf(runs: readonly MeteredResult[]): MeteredResult {
  const median = (of: (run: MeteredResult) => number) =>
    runs.map(of).sort((a, b) => a - b)[runs.length >> 1] as number;
  const disturbed = runs.find((run) => run.disturbed !== undefined)?.disturbed;
  return {
    ...(runs[0] as MeteredResult),
    failed: median((run) => run.failed),
    perSecond: median((run) => run.perSecond),
    p50: median((run) => run.p50),
    p99: median((run) => run.p99),
    p999: median((run) => run.p999),
    cpuUs: median((run) => run.cpuUs),
    cpuS: median((run) => run.cpuS),
    lagP99: median((run) => run.lagP99),
    ...(disturbed !== undefined && { disturbed }),
  };
}

function row(
  what: string,
  result: LoadResult & Pick<MeteredResult, 'cpuUs' | 'disturbed'>,
): Record<string, string | number> {
  const { perSecond, p50, p99, p999, cpuUs, lagP99, disturbed } = result;
  const figures = { what, perSecond: Math.round(perSecond), p50, p99, p999, cpuUs, lagP99 };
  return disturbed === undefined ? figures : { ...figures, disturbed };
}

/** A line a run, for who waits. */
function note(what: string, result: LoadResult & Partial<MeteredResult>): void {
  const { failed, firstFailure, p50, p99, p999, sendDelayP99, lagP99, cpuUs, disturbed } = result;
  const lost =
    failed === 0 ? '' : `, ${failed} failed${firstFailure === undefined ? '' : `: ${firstFailure}`}`;
  const times = `p50 ${p50}, p99 ${p99}, p99.9 ${p999} ms, sent late by ${sendDelayP99} ms at p99, of which the generator ${lagP99}`;
  const cpu = cpuUs === undefined ? '' : `, ${cpuUs} us of CPU each`;
  const why = disturbed === undefined ? '' : `, disturbed: ${disturbed}`;
  process.stderr.write(`${what}: ${times}${cpu}${lost}${why}, load ${loadavg()[0]?.toFixed(1)}\n`);
}
