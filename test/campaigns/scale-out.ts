import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cpuOf, ScaleOutHouse, type ScaleOutWorker } from '../support/scale-out-house.ts';
import { sentAttack, sentFlow } from '../support/served-guardian.ts';

/**
 * Events for one, two and three workers in network namespaces of their own; then, under a steady load, one worker is killed
 * and another's link is cut for longer than its lease. Each acknowledged event must have one stored result, and each attack
 * must be counted once. `--events N` a phase, `--rows N` an event, `--rate N` events a second for `--seconds N`, `--cut N`
 * seconds. Needs root, nats-server and PostgreSQL.
 */
const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1500' },
    rows: { type: 'string', default: '200' },
    rate: { type: 'string', default: '40' },
    seconds: { type: 'string', default: '70' },
    cut: { type: 'string', default: '25' },
    hub: { type: 'string' },
  },
});
const EVENTS = Number(values.events);
const ROWS = Number(values.rows);
const RATE = Number(values.rate);
const SECONDS = Number(values.seconds);
const CUT_SECONDS = Number(values.cut);
const STREAMS = 48;
const IN_FLIGHT = 16;
const ATTACKS = 4;

if (values.hub !== readlinkSync('/proc/self/ns/net')) {
  const script = `exec "$0" "$1" --hub "$(readlink /proc/self/ns/net)" ${process.argv.slice(2).map(quoted).join(' ')}`;
  const own = fileURLToPath(import.meta.url);
  const { status } = spawnSync('unshare', ['-n', 'sh', '-c', script, process.execPath, own], {
    stdio: 'inherit',
  });
  process.exit(status ?? 1);
}

const acknowledged = new Map<string, number>();
let sent = 0;
let refusals = 0;
const house = await ScaleOutHouse.open({ partitions: 12 });
try {
  const phases: unknown[] = [];
  for (let count = 1; count <= 3; count++) phases.push(await drain(count));
  const faults = await faultPhase();
  const check = await verify();
  const result = { type: 'campaign.result', name: 'scale-out', rows: ROWS, phases, faults, ...check };
  process.stdout.write(`${JSON.stringify(result, undefined, 1)}\n`);
  if (check.missing + check.strangers + check.lostFlows + check.doubledFlows > 0) process.exitCode = 1;
} finally {
  await house.close();
}

/** So many workers over what was queued before they came; the first 95 % of the results are most of them. */
async function drain(count: number): Promise<unknown> {
  const began = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => sendLane(lane, EVENTS)));
  const queuedSeconds = (performance.now() - began) / 1000;
  const first = Date.now();
  const workers = await Promise.all(
    Array.from({ length: count }, (_, i) => house.startWorker(`w${count}${i}`)),
  );
  const before = cpus(workers);
  await settled();
  const after = cpus(workers);
  const byWorker = await house.query(
    `SELECT body::json->>'worker' AS worker, count(*)::int AS events, sum((body::json->>'flows')::int)::int AS flows,
       min(time)::float8 AS first, max(time)::float8 AS last
     FROM event_results WHERE time >= ${first} GROUP BY 1 ORDER BY 1`,
  );
  const from = Math.min(...byWorker.map((row) => Number(row.first)));
  const seconds = (Math.max(...byWorker.map((row) => Number(row.last))) - from) / 1000;
  const [most] = await house.query(
    `SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY time)::float8 AS at FROM event_results WHERE time >= ${first}`,
  );
  const flows = byWorker.reduce((sum, row) => sum + Number(row.flows), 0);
  for (const { process: child } of workers) child.kill('SIGTERM');
  while (workers.some(({ process: child }) => child.exitCode === null)) await wait(20);
  const phase = {
    workers: count,
    queuedPerSecond: round(EVENTS / queuedSeconds),
    seconds,
    secondsOfMost: (Number(most?.at) - from) / 1000,
    flowsPerSecond: round(flows / seconds),
    perWorker: byWorker.map(({ worker, events, flows: own }) => ({
      ...{ worker, events },
      flowsPerSecond: round(Number(own) / seconds),
    })),
    cpuSeconds: Object.fromEntries(
      Object.entries(after).map(([name, value]) => [name, round(value - (before[name] ?? 0), 2)]),
    ),
  };
  process.stderr.write(`${JSON.stringify(phase)}\n`);
  return phase;
}

/** A steady load, a worker that is killed and one that is cut off. */
async function faultPhase(): Promise<unknown> {
  const workers = await Promise.all(['kept', 'killed', 'cut'].map((id) => house.startWorker(id)));
  const [kept, killed, cut] = workers as [ScaleOutWorker, ScaleOutWorker, ScaleOutWorker];
  await wait(5_000);
  const start = performance.now();
  const first = Date.now();
  const events: string[] = [];
  const at = async (seconds: number, what: string, act: () => void) => {
    await wait(Math.max(0, start + seconds * 1000 - performance.now()));
    act();
    events.push(`${seconds} s: ${what}`);
    process.stderr.write(`${events.at(-1)}\n`);
  };
  const faults = (async () => {
    await at(10, 'one worker killed', () => killed.process.kill('SIGKILL'));
    await at(20, 'the link of another cut', () => cut.cut());
    await at(20 + CUT_SECONDS, 'the link healed', () => cut.heal());
  })();
  const pending: Promise<void>[] = [];
  for (let i = 0; i < SECONDS * RATE; i++) {
    await wait(Math.max(0, start + (i * 1000) / RATE - performance.now()));
    pending.push(send());
  }
  await faults;
  await Promise.all(pending);
  await settled();
  const settledAfter = round((performance.now() - start) / 1000 - SECONDS, 1);
  const byWorker = await house.query(
    `SELECT body::json->>'worker' AS worker, count(*)::int AS events FROM event_results
     WHERE time >= ${first} GROUP BY 1 ORDER BY 1`,
  );
  for (const { process: child } of [kept, cut]) child.kill('SIGTERM');
  return { rate: RATE, seconds: SECONDS, events, byWorker, settledAfter };
}

async function verify() {
  for (let stream = 0; stream < STREAMS; stream++) {
    await house.call('POST', `/v1/events/end?route=gate-${stream}`);
  }
  const stored = new Set((await house.query('SELECT id FROM event_results')).map(({ id }) => String(id)));
  const missing = [...acknowledged.keys()].filter((id) => !stored.has(id)).length;
  const [failed] = await house.query(
    `SELECT count(*)::int AS n FROM event_results WHERE body::json->'failed' IS NOT NULL`,
  );
  const [detections] = await house.query(
    "SELECT count(*)::int AS n, coalesce(sum((body::json->>'flows')::int), 0)::int AS flows FROM detections",
  );
  const attacks = [...acknowledged.values()].reduce((sum, n) => sum + n, 0);
  const counted = Number(detections?.flows);
  return {
    acknowledged: acknowledged.size,
    refusals,
    results: stored.size,
    missing,
    strangers: stored.size - (acknowledged.size - missing),
    failed: Number(failed?.n),
    duplicatesDropped: await house.metric('guardian_events_duplicates_total'),
    attacks,
    detections: Number(detections?.n),
    attacksCounted: counted,
    lostFlows: Math.max(0, attacks - counted),
    doubledFlows: Math.max(0, counted - attacks),
  };
}

async function sendLane(lane: number, events: number): Promise<void> {
  for (let i = lane; i < events; i += IN_FLIGHT) await send();
}

/** One event, sent again under its key until it is acknowledged. */
async function send(): Promise<void> {
  const n = sent++;
  const attacks = n % (ATTACKS + 1);
  const path = `/v1/events/queue?route=gate-${n % STREAMS}`;
  const body = bodyOf(n % STREAMS, attacks, n);
  for (;;) {
    const answer = await house
      .call('POST', path, body, { 'idempotency-key': `event-${n}` })
      .catch((error: unknown) => ({ status: 0, body: String(error) }));
    if (answer.status === 202) {
      acknowledged.set((JSON.parse(answer.body) as { id: string }).id, attacks);
      return;
    }
    if (refusals++ === 0) process.stderr.write(`refused: ${answer.status} ${answer.body}\n`);
    await wait(500);
  }
}

function bodyOf(stream: number, attacks: number, n: number): string {
  const startMs = Date.UTC(2026, 0, 1) + n;
  const times = { startMs, endMs: startMs + 400, sourceAddress: `198.51.100.${stream}` };
  return Array.from({ length: ROWS }, (_, i) =>
    JSON.stringify(i < attacks ? sentAttack(times) : sentFlow({ ...times, sourcePort: 1_024 + i })),
  ).join('\n');
}

async function settled(): Promise<void> {
  while ((await house.metric('guardian_events_waiting')) > 0) await wait(100);
}

function cpus(workers: readonly ScaleOutWorker[]): Record<string, number> {
  const { owner, nats } = house;
  return {
    ...(owner && { owner: cpuOf(owner) }),
    ...(nats && { nats: cpuOf(nats) }),
    ...Object.fromEntries(workers.map(({ id, process: child }) => [id, cpuOf(child)])),
  };
}

function round(value: number, digits = 0): number {
  return Number(value.toFixed(digits));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
