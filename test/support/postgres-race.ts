import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { SeededRandom } from '../../src/base/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { loadSchema } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import type { PostgresConfig } from '../../src/storage/index.ts';
import { startPostgres } from './postgres.ts';
import type { Order, Told } from './postgres-contender.ts';
import { flowCandidate } from './served-guardian.ts';

export interface RaceOptions {
  /** Rounds in which both try to promote. */
  readonly rounds: number;
  /** Times a writer is stopped in the middle of its work, and woken when the other has taken over. */
  readonly stops: number;
  readonly seed?: number;
  /** Where the servers' state is; the folder for temporary files by default. */
  readonly place?: string;
  readonly onProgress?: (text: string) => void;
}

export interface RaceResult {
  readonly wins: Readonly<Record<string, number>>;
  /** What a woken writer was refused with first, by code. */
  readonly firstRefusals: Readonly<Record<string, number>>;
  readonly moves: number;
  readonly entries: number;
  /** From the stop to the other's first promotion, milliseconds, in rising order. */
  readonly takeoverMs: readonly number[];
  readonly seconds: number;
}

const LEASE_MS = 1_000;
const NAMES = ['ada', 'bob'] as const;

/**
 * Two servers on one PostgreSQL and one shared folder. Asserts that each round has one winner, that the history has no
 * gap and holds what was acknowledged, that a writer which lost its lease changes nothing, and that the log verifies.
 */
export async function racePostgres(options: RaceOptions): Promise<RaceResult> {
  const started = performance.now();
  const root = mkdtempSync(join(options.place ?? tmpdir(), 'guardian-race-'));
  const postgres = await startPostgres();
  const contenders: Contender[] = [];
  try {
    const config = { ...(await postgres.makeDatabase()), leaseMs: LEASE_MS };
    await publishBoth(root, config);
    for (const name of NAMES) contenders.push(await Contender.start(root, name, config));
    const acknowledged: Move[] = [];
    const wins = await playRounds(contenders, acknowledged, options);
    const stopped = await stopWriters(contenders, acknowledged, options);
    const { moves, entries } = await check(root, config, acknowledged);
    const seconds = (performance.now() - started) / 1000;
    return { wins, ...stopped, moves, entries, seconds };
  } finally {
    for (const contender of contenders) contender.kill();
    await postgres.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** The code of an error, or its text. */
export function hasCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return String(error);
}

interface Move {
  readonly principal: string;
  readonly version: string;
  readonly intent: number;
}

async function openThird(root: string, postgres: PostgresConfig): Promise<Guardian> {
  const config = configurationSchema.parse({
    storage: { database: 'postgres', postgres, sharedFolder: join(root, 'shared') },
  });
  return await openGuardian({ stateFolder: join(root, 'third'), configFolder: join(root, 'config'), config });
}

async function publishBoth(root: string, config: PostgresConfig): Promise<void> {
  const guardian = await openThird(root, config);
  const schema = await loadSchema('flow-core');
  for (const version of ['1.0.0', '1.1.0']) {
    await guardian.registry.publish(flowCandidate(schema), { principal: 'carol' }, { version });
  }
  await guardian.close();
}

async function playRounds(
  contenders: readonly Contender[],
  acknowledged: Move[],
  { rounds, onProgress }: RaceOptions,
): Promise<Record<string, number>> {
  const wins: Record<string, number> = Object.fromEntries(NAMES.map((name) => [name, 0]));
  for (let round = 0; round < rounds; round++) {
    for (const [i, each] of contenders.entries()) each.order({ do: 'promote', version: `1.${i}.0` });
    const answers = await Promise.all(contenders.map((each) => each.next()));
    const winners = contenders.filter((_, i) => answers[i]?.is === 'won');
    assert.equal(winners.length, 1, `round ${round}: ${JSON.stringify(answers)}`);
    for (const [i, answer] of answers.entries()) {
      const { name } = contenders[i] as Contender;
      if (answer.is === 'won') acknowledged.push({ principal: name, ...pick(answer) });
      else assert.deepEqual(answer, { is: 'refused', code: 'storage.writer-leased' });
    }
    const [winner] = winners as [Contender];
    wins[winner.name] = (wins[winner.name] ?? 0) + 1;
    winner.order({ do: 'close' });
    assert.equal((await winner.next()).is, 'closed');
    if ((round + 1) % 100 === 0) onProgress?.(`${round + 1} rounds: ${JSON.stringify(wins)}`);
  }
  return wins;
}

async function stopWriters(
  contenders: readonly Contender[],
  acknowledged: Move[],
  { stops, seed = 1, onProgress }: RaceOptions,
): Promise<Pick<RaceResult, 'firstRefusals' | 'takeoverMs'>> {
  const random = new SeededRandom(seed);
  const firstRefusals: Record<string, number> = {};
  const takeoverMs: number[] = [];
  for (let i = 0; i < stops; i++) {
    const [writer, other] = (i % 2 === 0 ? contenders : [...contenders].reverse()) as [Contender, Contender];
    writer.order({ do: 'take-over', version: '1.0.0' });
    acknowledged.push({ principal: writer.name, ...pick(await writer.next()) });
    writer.order({ do: 'promote-on' });
    for (let n = 0; n < 2; n++) acknowledged.push({ principal: writer.name, ...pick(await writer.next()) });
    // Somewhere within the next promotions.
    await new Promise((resolve) => setTimeout(resolve, random.uniform(0, 60)));
    writer.signal('SIGSTOP');
    const stoppedAt = performance.now();
    other.order({ do: 'take-over', version: '1.1.0' });
    const first = pick(await other.next());
    takeoverMs.push(Math.round(performance.now() - stoppedAt));
    writer.signal('SIGCONT');
    for (;;) {
      const told = await writer.next();
      if (told.is === 'promoted') {
        // Told before it was stopped and read only now: it stands before what the other did.
        assert.ok(told.intent < first.intent, 'a fenced-off writer promoted');
        acknowledged.push({ principal: writer.name, ...pick(told) });
        continue;
      }
      assert.ok(told.is === 'stopped', JSON.stringify(told));
      const [reason = '', ...later] = told.codes;
      firstRefusals[reason] = (firstRefusals[reason] ?? 0) + 1;
      assert.deepEqual(later, ['storage.fenced', 'storage.fenced'], JSON.stringify(told));
      break;
    }
    acknowledged.push({ principal: other.name, ...first });
    other.order({ do: 'promote', version: '1.0.0' });
    acknowledged.push({ principal: other.name, ...pick(await other.next()) });
    for (const each of [writer, other]) {
      each.order({ do: 'close' });
      assert.equal((await each.next()).is, 'closed');
    }
    if ((i + 1) % 10 === 0) onProgress?.(`${i + 1} writers stopped: ${JSON.stringify(firstRefusals)}`);
  }
  return { firstRefusals, takeoverMs: takeoverMs.sort((a, b) => a - b) };
}

/** Opens once more and holds what was acknowledged against history and log. */
async function check(
  root: string,
  config: PostgresConfig,
  acknowledged: readonly Move[],
): Promise<{ moves: number; entries: number }> {
  const guardian = await openThird(root, config);
  try {
    const history = (await guardian.registry.history('flow')).filter(({ alias }) => alias === 'champion');
    for (const [i, change] of history.entries()) {
      assert.equal(change.previous, history[i - 1]?.version, `a gap before move ${i}`);
      assert.ok(i === 0 || change.intent > (history[i - 1]?.intent ?? 0));
    }
    const known = new Map(history.map((change) => [change.intent, change]));
    for (const { intent, principal, version } of acknowledged) {
      const change = known.get(intent);
      assert.deepEqual([change?.principal, change?.version], [principal, version], `move ${intent}`);
    }
    assert.equal((await guardian.registry.resolve('flow@champion')).version, history.at(-1)?.version);
    // One stop may leave one move that was done and not acknowledged, and recovery said so.
    await guardian.log.checkpoint();
    const keys = (await guardian.keys.list()).filter(({ purpose }) => purpose === 'log-signing');
    const { size } = await verifyAuditLog({
      folder: guardian.auditFolder,
      logPublicKeyPem: keys.flatMap(({ publicKeyPem }) => publicKeyPem ?? []),
    });
    assert.equal(size, guardian.log.size);
    for await (const { entry } of guardian.log.entries()) assert.notEqual(entry.action, 'test.note');
    assert.ok(readdirSync(join(root, 'shared')).some((name) => name.startsWith('audit-')));
    return { moves: history.length, entries: size };
  } finally {
    await guardian.close();
  }
}

function pick(told: Told): { readonly intent: number; readonly version: string } {
  assert.ok(told.is === 'won' || told.is === 'promoted', JSON.stringify(told));
  return { intent: told.intent, version: told.version };
}

class Contender {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #told: Told[] = [];
  readonly #waiting: { resolve: (told: Told) => void; reject: (error: Error) => void }[] = [];
  #ended: Error | undefined;

  static async start(root: string, name: string, config: PostgresConfig): Promise<Contender> {
    const contender = new Contender(root, name, config);
    assert.equal((await contender.next()).is, 'ready');
    return contender;
  }

  private constructor(root: string, name: string, config: PostgresConfig) {
    this.name = name;
    const file = join(import.meta.dirname, 'postgres-contender.ts');
    this.#child = fork(file, [root, name, JSON.stringify(config)], { execArgv: [] });
    this.#child.on('message', (told: Told) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#told.push(told);
      else next.resolve(told);
    });
    this.#child.once('exit', (code, signal) => {
      this.#ended = new Error(`${name} ended with ${code ?? signal}`);
      for (const { reject } of this.#waiting) reject(this.#ended);
    });
  }

  order(order: Order): void {
    this.#child.send(order);
  }

  async next(): Promise<Told> {
    const told = this.#told.shift();
    if (told !== undefined) return told;
    if (this.#ended !== undefined) throw this.#ended;
    return await new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  kill(): void {
    if (this.#ended === undefined) this.#child.kill('SIGKILL');
  }
}
