import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ManualClock, SeededRandom } from '../src/base/index.ts';
import { growHistory } from '../test/support/long-history.ts';
import { fixtureEvaluator, openHouse } from '../test/support/registry-fixture.ts';
import { reportBench } from './support/report.ts';

/**
 * How long it takes to answer who was champion at a time, with proofs, in a registry of many versions and changes; and
 * how long such a registry takes to open.
 */
const { values } = parseArgs({
  options: {
    versions: { type: 'string', default: '10000' },
    changes: { type: 'string', default: '10000' },
    others: { type: 'string', default: '60000' },
    asked: { type: 'string', default: '200' },
    folder: { type: 'string', default: process.cwd() },
  },
});
const [versions, changes, others, asked] = [values.versions, values.changes, values.others, values.asked].map(
  Number,
) as [number, number, number, number];

/** What an answer may take. */
const TARGET_MS = 50;

const root = await mkdtemp(join(values.folder, '.bench-history-'));
const clock = new ManualClock();
const start = clock.now();
const { evaluator } = fixtureEvaluator();
const parts = { policy: { approvals: 2 }, evaluator } as const;

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const from = performance.now();
  const value = await work();
  return { value, ms: performance.now() - from };
}

const share = (sorted: readonly number[], q: number) =>
  Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(2));

try {
  const made = await openHouse(root, clock, parts);
  // A clock that ticks with each move gives every change a time of its own.
  const ticking = setInterval(() => clock.advance(1), 1);
  await growHistory(made, { versions, changes, others });
  clearInterval(ticking);
  const end = clock.now();
  await made.close();

  const opened = await timed(() => openHouse(root, clock, parts));
  const house = opened.value;
  const random = new SeededRandom(1);
  const times: number[] = [];
  let largest = 0;
  for (let i = 0; i < asked + 10; i++) {
    const at = Math.round(random.uniform(start, end));
    const { value, ms } = await timed(() => house.registry.servedAt('flow', 'champion', at));
    largest = Math.max(largest, value.proofs.length);
    // The first ten warm the code up.
    if (i >= 10) times.push(ms);
  }
  times.sort((a, b) => a - b);
  const entries = house.log.size;
  const whole = await timed(() => house.registry.history('flow'));
  const resolved = await timed(() => house.registry.resolve('flow@champion'));
  const back = await timed(() => house.registry.rollback('flow', 'champion', { principal: 'ops' }));
  await house.close();
  const [median, p99, largestMs] = [share(times, 0.5), share(times, 0.99), share(times, 1)];
  await reportBench({
    bench: 'history',
    rows: [
      { what: 'answer', versions, changes, asked, proofs: largest, medianMs: median, p99Ms: p99, largestMs },
      { what: 'open', entries, ms: Math.round(opened.ms) },
      { what: 'whole history', ms: Math.round(whole.ms) },
      { what: 'resolve', ms: Number(resolved.ms.toFixed(2)) },
      { what: 'rollback', ms: Number(back.ms.toFixed(1)) },
    ],
    // No peer answers this question.
    ratios: {},
    passed: p99 <= TARGET_MS,
  });
} finally {
  await rm(root, { recursive: true, force: true });
}
