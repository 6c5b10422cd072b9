import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type FloodCounts,
  type FloodPhase,
  type FloodWindow,
  WINDOW_MS,
} from '../../bench/support/serve/flood.ts';
import { floodFrom } from '../../bench/support/serve/flood-process.ts';
import { type GuardianServer, startGuardianServer } from '../../bench/support/serve/guardian-server.ts';
import { inferMessage } from '../../bench/support/serve/infer-message.ts';
import { highestRate } from '../../bench/support/serve/load-generator.ts';
import { trainServedModel } from '../../bench/support/served-model.ts';
import { type Bar, printVerdict } from '../support/campaign-verdict.ts';
import { readRefused } from '../support/refused-counters.ts';
import { type Sample, slopeOf } from '../support/slope.ts';

/**
 * `npm run campaign -- overload [--seconds 60] [--times 2,5] [--mixes 'live,live and batch'] [--best RATE] [--json]`: single
 * events as JSON at a multiple of the highest rate, the server on one core and the generator on the other, once with live work
 * alone and once with live work at two fifths of the highest rate and batch work for the rest. `--best` leaves out the
 * search for that rate.
 */

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
/** 32 connections for live work and 32 for batch work. */
const CONNECTIONS = 32;
const DEPTH = 128;
const LIVE_SHARE = 0.4;
const P99_MS = 100;
const GOODPUT_SHARE = 0.8;
const NORMAL_WITHIN_MS = 2_000;
const TRIAL_S = 4;
const WARM_UP_S = 5;
const PRECISION = 0.05;
/** Of the highest rate, before and after the overload. */
const CALM = 0.5;
const CALM_S = 8;
/** Memory may grow by so much; of the overload, the first quarter does not count: the heap takes its size. */
const MEMORY_MIB = 16;
const SETTLING = 0.25;

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    times: { type: 'string', default: '2,5' },
    mixes: { type: 'string', default: 'live,live and batch' },
    best: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(flags.seconds);
const folder = mkdtempSync(join(tmpdir(), 'overload-'));
let server: GuardianServer | undefined;
try {
  const { candidate, model, values } = await trainServedModel(folder);
  server = await startGuardianServer(folder, candidate, { core: SERVER_CORE });
  const { port, key } = server;
  const columns = model.columnNames.length;
  const common = `host: 127.0.0.1:${port}\r\nauthorization: Bearer ${key}\r\n`;
  const messages = (headers: string) =>
    Array.from({ length: 2_048 }, (_, r) =>
      inferMessage(candidate.name, headers, values.subarray(r * columns, (r + 1) * columns)),
    );
  const streams = [
    { name: 'live', requests: messages(common), connections: CONNECTIONS, depth: DEPTH },
    {
      ...{ name: 'batch', requests: messages(`${common}guardian-priority: batch\r\n`) },
      ...{ connections: CONNECTIONS, depth: DEPTH },
    },
  ];
  let seed = 1;
  const flood = (phases: readonly FloodPhase[]) =>
    floodFrom(GENERATOR_CORE, { kind: 'flood', port, streams, phases, seed: seed++ });
  const say = (text: string) => process.stderr.write(`${text}, load ${loadavg()[0]?.toFixed(1)}\n`);

  await flood([{ name: 'warm-up', seconds: WARM_UP_S, rates: [2_000, 500] }]);
  let best = Number(flags.best ?? Number.NaN);
  let bestGoodput = best;
  if (Number.isNaN(best)) {
    best = await highestRate(2_000, PRECISION, async (rate) => {
      const { phases } = await flood([{ name: 'trial', seconds: TRIAL_S, rates: [rate, 0] }]);
      const live = phases[0]?.[0] as FloodCounts;
      const passes = live.failed === 0 && live.good >= 0.999 * live.due && live.p99 <= P99_MS;
      say(`${rate}/s: ${live.good} of ${live.due} good, p99 ${live.p99} ms`);
      if (passes) bestGoodput = live.inTime / TRIAL_S;
      return passes;
    });
  }
  say(`highest rate ${best}/s, ${bestGoodput} a second in time`);

  // Warm for what follows: code and heap have their size.
  const most = best * Math.max(...flags.times.split(',').map(Number));
  await flood([{ name: 'flood', seconds: WARM_UP_S, rates: [best * LIVE_SHARE, most - best * LIVE_SHARE] }]);
  const rows: Record<string, string | number>[] = [];
  const bars: Bar[] = [];
  for (const times of flags.times.split(',').map(Number)) {
    for (const mix of flags.mixes.split(',')) {
      const name = `${times}x, ${mix}`;
      const offered = best * times;
      const live = mix === 'live' ? offered : best * LIVE_SHARE;
      const before = await readRefused(server);
      const memory: Sample[] = [];
      const { memoryMiB } = server;
      const began = performance.now();
      const timer = setInterval(() => {
        memory.push({ at: (performance.now() - began) / 60_000, value: memoryMiB() });
      }, 500);
      const cpuBefore = server.cpuS();
      const calm = { seconds: CALM_S, rates: [best * CALM, 0] };
      const { phases, windows } = await flood([
        { name: 'before', ...calm },
        { name: 'overload', seconds, rates: [live, offered - live] },
        { name: 'after', ...calm },
      ]);
      clearInterval(timer);
      const after = await readRefused(server);
      const cpu = server.cpuS() - cpuBefore;
      const all = phases.flat();
      const sum = (of: (counts: FloodCounts) => number, from: readonly FloodCounts[] = all) =>
        from.reduce((total, counts) => total + of(counts), 0);
      const [liveCounts, batchCounts] = phases[1] as [FloodCounts, FloodCounts];
      const overload = [liveCounts, batchCounts];
      const goodput = sum(({ inTime }) => inTime, overload) / seconds;
      const refused = sum(({ refused }) => refused);
      const counted = after.total - before.total;
      const settled = memory.filter(
        ({ at }) => at * 60 > CALM_S + SETTLING * seconds && at * 60 < CALM_S + seconds,
      );
      const slope = slopeOf(settled);
      const growth = (slope.perUnit * seconds) / 60;
      const isFlat = slope.low <= 0 || growth <= MEMORY_MIB;
      const normalMs = backToNormal(windows.slice(((CALM_S + seconds) * 1_000) / WINDOW_MS));
      rows.push({
        case: name,
        offered: Math.round(sum(({ due }) => due, overload) / seconds),
        reached: Math.round(sum(({ sent }) => sent, overload) / seconds),
        goodput: Math.round(goodput),
        liveP99: liveCounts.p99,
        liveGood: percent(liveCounts.inTime, liveCounts.due),
        batchGood: percent(batchCounts.inTime, batchCounts.due),
        refused: sum(({ refused }) => refused, overload),
        refusedP99: liveCounts.refused > 0 ? liveCounts.refusedP99 : batchCounts.refusedP99,
        normalMs,
        memoryMiB: `${settled[0]?.value.toFixed(0)} to ${settled.at(-1)?.value.toFixed(0)}`,
        cpuPercent: Math.round((cpu / (seconds + 2 * CALM_S)) * 100),
        load: Number(loadavg()[0]?.toFixed(1)),
        reasons: overload
          .flatMap(({ reasons }) => Object.entries(reasons).map(([reason, count]) => `${reason} ${count}`))
          .join(', '),
        sendLateP99: Math.max(...overload.map(({ sendLateP99 }) => sendLateP99 || 0)),
      });
      const lost = all.find(({ failed }) => failed > 0)?.firstFailure;
      const conserved = sum(({ sent, good, refused, failed }) => sent - good - refused - failed);
      bars.push(
        {
          bar: `${name}: goodput within ${P99_MS} ms at least ${GOODPUT_SHARE * 100} % of the best`,
          got: `${Math.round(goodput)}/s of ${Math.round(bestGoodput)}/s, ${percent(goodput, bestGoodput)} %`,
          passed: goodput >= GOODPUT_SHARE * bestGoodput,
        },
        {
          bar: `${name}: live p99 at most ${P99_MS} ms`,
          got: `${liveCounts.p99} ms`,
          passed: liveCounts.p99 <= P99_MS,
        },
        {
          bar: `${name}: memory flat`,
          got: `${slope.perUnit.toFixed(1)} MiB a minute (${slope.low.toFixed(1)} to ${slope.high.toFixed(1)})`,
          passed: isFlat,
        },
        {
          bar: `${name}: every refusal counted, explained and with Retry-After; nothing lost`,
          got: `${refused} refused, ${counted} counted by the server, ${sum(({ unexplained }) => unexplained)} unexplained, ${sum(({ failed }) => failed)} lost${lost === undefined ? '' : ` (${lost})`}`,
          passed:
            refused === counted &&
            conserved === 0 &&
            sum(({ failed, unexplained }) => failed + unexplained) === 0,
        },
        {
          bar: `${name}: back to normal within ${NORMAL_WITHIN_MS / 1_000} s`,
          got: `${normalMs} ms`,
          passed: normalMs <= NORMAL_WITHIN_MS,
        },
      );
      say(`${name}: ${Math.round(goodput)}/s in time of ${Math.round(offered)}/s`);
    }
  }
  const unreached = rows.filter(({ offered, reached }) => Number(reached) < 0.99 * Number(offered));
  if (unreached.length > 0) say('the generator did not reach the rate of some cases: see `reached`');
  printVerdict('overload', { best, bestGoodput: Math.round(bestGoodput), rows }, bars, flags.json);
} finally {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** From the end of the overload to the begin of the first window from which on nothing was refused or late, ms. */
function backToNormal(windows: readonly FloodWindow[]): number {
  const lastBad = windows.findLastIndex(({ late, refused }) => late + refused > 0);
  return (lastBad + 1) * WINDOW_MS;
}

function percent(part: number, whole: number): number {
  return whole === 0 ? Number.NaN : Number(((part / whole) * 100).toFixed(1));
}
