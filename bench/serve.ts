import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exportOnnx } from '../src/models/index.ts';
import { reportBench } from './support/report.ts';
import { startGuardianServer } from './support/serve/guardian-server.ts';
import type { LoadResult } from './support/serve/load.ts';
import { highestRate, startGenerator } from './support/serve/load-generator.ts';
import { type MlServer, startMlServer } from './support/serve/mlserver.ts';
import type { PinnedProcess } from './support/serve/pinned-process.ts';
import { trainServedModel } from './support/served-model.ts';

/**
 * `guardian serve` on one core, the generator on the other: single events at 1,000/s, the highest rates with p99 <= 100 ms as JSON
 * and in batches, gRPC, and MLServer with the same trees. Notes in README.md. `--profile FOLDER` has the server's CPU profile written.
 */

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
const MACHINE_CORES = 2;
const CONNECTIONS = 64;
const BATCH = 1_024;
const P99_MS = 100;
const TRIAL_S = 5;
const STEADY_S = 20;
/** The search ends within this share of the rate. */
const PRECISION = 0.05;
/** Not counted, before everything else of its kind. */
const WARM_UP = { seconds: 5, events: 2_000, batches: 50, peer: 100 };
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
  /** A run with the server's CPU time an answer, us: what other work on the machine takes from the run is not in it. */
  const metered = async (
    of: PinnedProcess & { readonly port: number },
    requests: readonly Uint8Array[],
    rate: number,
    seconds: number,
  ): Promise<MeteredResult> => {
    const before = of.cpuS();
    const result = await load(of.port, requests, rate, seconds);
    return { ...result, cpuUs: Math.round(((of.cpuS() - before) / result.answered) * 1e6) };
  };
  /** The run of the highest rate that passes. */
  const best = async (
    what: string,
    of: typeof server | MlServer,
    requests: readonly Uint8Array[],
    from: number,
  ) => {
    let kept: MeteredResult | undefined;
    const rate = await highestRate(from, PRECISION, async (at) => {
      const result = await metered(of, requests, at, TRIAL_S);
      note(`${what} at ${at}/s`, result);
      const passes = result.failed === 0 && result.p99 <= P99_MS;
      if (passes) kept = result;
      return passes;
    });
    if (kept === undefined) throw new Error(`${what}: no rate passed`);
    return { rate, result: kept };
  };
  const warmUp = async (port: number, requests: readonly Uint8Array[], rate: number) => {
    const { answered, firstFailure } = await load(port, requests, rate, WARM_UP.seconds);
    if (answered === 0) throw new Error(`expected answers, got ${firstFailure ?? 'none'}`);
  };

  await warmUp(server.port, singles, WARM_UP.events);
  const cpuBefore = server.cpuS();
  const steady = await metered(server, singles, 1_000, STEADY_S);
  const cpuShare = (server.cpuS() - cpuBefore) / (STEADY_S * MACHINE_CORES);
  const memory = server.memoryMiB();
  note('JSON at 1,000/s', steady);
  rows.push({
    ...row('guardian, JSON at 1,000/s', steady),
    ...{ cpuPercent: Number((cpuShare * 100).toFixed(2)), memoryMiB: Math.round(memory) },
  });

  const json = await best('JSON', server, singles, 2_000);
  rows.push(row('guardian, JSON, highest', json.result));

  await warmUp(server.port, batches, WARM_UP.batches);
  const binary = await best('batches', server, batches, 50);
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
    const theirs = await best('MLServer', peer, singles, 200);
    rows.push(row('MLServer, JSON, highest', theirs.result));
    // Where it has room: at its highest rate it would lose by its queue alone.
    const equal = Math.round(theirs.rate / 2);
    const theirEqual = await metered(peer, singles, equal, TRIAL_S);
    const ourEqual = await metered(server, singles, equal, TRIAL_S);
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

interface MeteredResult extends LoadResult {
  readonly cpuUs: number;
}

function row(what: string, result: MeteredResult): Record<string, string | number> {
  const { perSecond, p50, p99, p999, cpuUs } = result;
  return { what, perSecond: Math.round(perSecond), p50, p99, p999, cpuUs };
}

/** A line a run, for who waits. */
function note(what: string, { failed, firstFailure, p50, p99, p999, sendDelayP99 }: LoadResult): void {
  const lost =
    failed === 0 ? '' : `, ${failed} failed${firstFailure === undefined ? '' : `: ${firstFailure}`}`;
  const times = `p50 ${p50}, p99 ${p99}, p99.9 ${p999} ms, sent late by ${sendDelayP99} ms at p99`;
  process.stderr.write(`${what}: ${times}${lost}, load ${loadavg()[0]?.toFixed(1)}\n`);
}
