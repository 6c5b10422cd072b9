import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type AuditEntry, verifyAuditLog } from '../../src/audit/index.ts';
import { SeededRandom } from '../../src/base/index.ts';
import { loadSchema } from '../../src/features/index.ts';
import type { Guardian } from '../../src/guardian/index.ts';
import { type Change, type LiveOptions, openLive, type Report } from './live-registry.ts';
import { flowCandidate, openServedHouse } from './served-guardian.ts';

const CHILD = fileURLToPath(new URL('./live-registry.ts', import.meta.url));
/** One kill of so many falls into opening, which includes recovery. */
const KILLS_OF_OPENING = 0.15;
const OPENING_MS = 150;
/** The others fall so long after so many answers, both drawn. */
const ANSWERS = 8;
const WORK_MS = [2, 120] as const;

export interface KillsResult {
  readonly kills: number;
  /** Kills before the process was ready. */
  readonly duringOpening: number;
  readonly asked: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Changes that a kill left without an answer, and how they were found. */
  readonly unanswered: {
    readonly whollyThere: number;
    readonly whollyNot: number;
    readonly eachWhole: number;
  };
  readonly acknowledgedByOp: Readonly<Record<string, number>>;
  /** Intents that recovery closed. */
  readonly recoveredIntents: number;
  readonly entries: number;
}

interface Tally {
  kills: number;
  duringOpening: number;
  asked: number;
  acknowledged: number;
  refused: number;
  readonly unanswered: { whollyThere: number; whollyNot: number; eachWhole: number };
  readonly acknowledgedByOp: Record<string, number>;
  recoveredIntents: number;
  entries: number;
}

/**
 * Kills a live registry again and again, `kill -9` after a drawn delay, in `lanes` states beside each other; opens it
 * after each kill and holds what is there against what the process had said. Rejects at the first difference.
 */
export async function killRegistry(options: {
  readonly seed: number;
  readonly kills: number;
  readonly lanes?: number;
  readonly onKill?: (done: number) => void;
}): Promise<KillsResult> {
  const { seed, kills, lanes = 1, onKill = () => {} } = options;
  const folder = mkdtempSync(join(tmpdir(), 'kills-'));
  const tally: Tally = {
    kills: 0,
    duringOpening: 0,
    asked: 0,
    acknowledged: 0,
    refused: 0,
    unanswered: { whollyThere: 0, whollyNot: 0, eachWhole: 0 },
    acknowledgedByOp: {},
    recoveredIntents: 0,
    entries: 0,
  };
  try {
    const offer = await offerModel(join(folder, 'offered'));
    await Promise.all(
      Array.from({ length: lanes }, async (_, i) => {
        const lane = new Lane(join(folder, `lane-${i}`), offer, seed + i * 100_000, tally);
        const share = Math.floor((kills + i) / lanes);
        try {
          for (let round = 0; round < share; round++) {
            await lane.round(round + 1 < share);
            onKill(++tally.kills);
          }
          tally.entries += lane.size;
        } finally {
          await lane.end();
        }
      }),
    );
    return tally;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function offerModel(offered: string): Promise<Pick<LiveOptions, 'offered' | 'offeredKey'>> {
  const there = await openServedHouse({ withModel: false });
  try {
    const { registry, keys } = there.guardian;
    await registry.publish(flowCandidate(await loadSchema('flow-core')), { principal: 'eve' });
    await registry.exportTo('flow@1.0.0', offered);
    return { offered, offeredKey: (await keys.active('model-signing')).publicKeyPem ?? '' };
  } finally {
    await there.close();
  }
}

/** A change as it was asked for, and an intent with its end. */
type Asked = Change & { readonly since: number };
type Closed = AuditEntry & { readonly index: number; readonly result: NonNullable<AuditEntry['result']> };

/** A process, what it has said, and its end. */
interface Live {
  readonly child: ChildProcess;
  readonly reports: Report[];
  readonly closed: Promise<unknown>;
  /** Resolves when it has said so that often; rejects where it ends before. */
  said(is: Report['is'], times?: number): Promise<void>;
}

/** One state folder, killed and opened again and again, and the facts that must be there. */
class Lane {
  readonly #folder: string;
  readonly #offer: Pick<LiveOptions, 'offered' | 'offeredKey'>;
  readonly #random: SeededRandom;
  readonly #tally: Tally;
  #seed: number;
  #next: Live | undefined;
  #facts = new Map<string, string>();
  #outside: string | undefined;
  size = 0;

  constructor(
    folder: string,
    offer: Pick<LiveOptions, 'offered' | 'offeredKey'>,
    seed: number,
    tally: Tally,
  ) {
    this.#folder = folder;
    this.#offer = offer;
    this.#seed = seed;
    this.#random = new SeededRandom(seed);
    this.#tally = tally;
  }

  async round(hasNext: boolean): Promise<void> {
    if (this.#outside === undefined) await this.#begin();
    const live = this.#next ?? this.#start();
    const isOpening = this.#random.chance(KILLS_OF_OPENING);
    const answers = this.#random.integer(0, ANSWERS);
    const delay = isOpening ? this.#random.uniform(0, OPENING_MS) : this.#random.uniform(...WORK_MS);
    await live.said('loaded');
    live.child.stdin?.write('.');
    await live.said(isOpening ? 'opening' : 'ready');
    if (!isOpening) await live.said('done', answers);
    await new Promise((resolve) => setTimeout(resolve, delay));
    live.child.kill('SIGKILL');
    await live.closed;
    assert.equal(live.child.signalCode, 'SIGKILL', `seed ${this.#seed}: the process ended by itself`);
    if (!live.reports.some(({ is }) => is === 'ready')) this.#tally.duringOpening++;
    // It loads its code while this one's leftovers are looked at.
    this.#next = hasNext ? this.#start() : undefined;
    try {
      await this.#check(live.reports);
    } catch (error) {
      process.stderr.write(`${live.reports.map((report) => JSON.stringify(report)).join('\n')}\n`);
      throw error;
    }
  }

  async end(): Promise<void> {
    this.#next?.child.kill('SIGKILL');
    await this.#next?.closed;
  }

  async #begin(): Promise<void> {
    const guardian = await openLive(this.#folder);
    this.#facts = await factsOf(guardian);
    this.size = guardian.log.size;
    this.#outside = (await guardian.log.checkpoint()).text;
    await guardian.close();
  }

  #start(): Live {
    const options: LiveOptions = { folder: this.#folder, seed: ++this.#seed, ...this.#offer };
    const child = spawn(process.execPath, [CHILD, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.#folder, '..', 'compiled') },
    });
    child.stdin.on('error', () => {});
    const closed = once(child, 'close');
    const reports: Report[] = [];
    let wake = () => {};
    createInterface(child.stdout).on('line', (line) => {
      reports.push(JSON.parse(line) as Report);
      wake();
    });
    const ended = closed.then(() => {
      throw new assert.AssertionError({ message: 'the process ended before it was killed' });
    });
    ended.catch(() => {});
    const said = async (is: Report['is'], times = 1) => {
      while (reports.filter((report) => report.is === is).length < times) {
        await Promise.race([ended, new Promise<void>((resolve) => (wake = resolve))]);
      }
    };
    return { child, reports, closed, said };
  }

  async #check(reports: readonly Report[]): Promise<void> {
    const expected = new Map(this.#facts);
    const pending = new Map<number, Asked>();
    for (const report of reports) {
      if (report.is === 'begin') {
        pending.set(report.n, report.change);
        this.#tally.asked++;
      } else if (report.is === 'refused') {
        pending.delete(report.n);
        this.#tally.refused++;
      } else if (report.is === 'done') {
        const { op } = pending.get(report.n) as Asked;
        pending.delete(report.n);
        this.#tally.acknowledged++;
        this.#tally.acknowledgedByOp[op] = (this.#tally.acknowledgedByOp[op] ?? 0) + 1;
        for (const [fact, value] of Object.entries(report.facts)) put(expected, fact, value);
      }
    }
    const guardian = await openLive(this.#folder);
    try {
      await this.#checkLog(guardian);
      const outcomes = await this.#outcomesSince(guardian);
      const actual = await factsOf(guardian);
      for (const change of pending.values()) this.#settle(change, { expected, actual, outcomes });
      // What stood for a version goes with it.
      for (const fact of expected.keys()) {
        const [kind, subject] = fact.split(' ');
        if (kind === 'approval' && expected.get(`version ${subject}`) !== 'live') expected.delete(fact);
      }
      assert.deepEqual(sorted(actual), sorted(expected));
      await checkFiles(guardian, actual);
      this.#facts = actual;
      this.size = guardian.log.size;
      this.#outside = (await guardian.log.checkpoint()).text;
    } finally {
      await guardian.close();
    }
  }

  /** Nothing open, everything recomputed, and nothing lost of what a checkpoint outside has seen. */
  async #checkLog({ log, keys, auditFolder }: Guardian): Promise<void> {
    assert.deepEqual(await log.openIntents(), []);
    await log.checkpoint();
    const logPublicKeyPem = (await keys.list()).flatMap(({ purpose, publicKeyPem }) =>
      purpose === 'log-signing' ? (publicKeyPem ?? []) : [],
    );
    const verified = await verifyAuditLog({
      ...{ folder: auditFolder, logPublicKeyPem },
      ...(this.#outside !== undefined && { outsideCheckpoint: this.#outside }),
    });
    assert.equal(verified.size, log.size);
  }

  /** Intents since the last round with their results; every intent has one. */
  async #outcomesSince({ log }: Guardian): Promise<readonly Closed[]> {
    const intents = new Map<number, AuditEntry>();
    const closed: Closed[] = [];
    for await (const { index, entry } of log.entries(this.size)) {
      if (entry.kind === 'intent') intents.set(index, entry);
      if (entry.kind !== 'outcome') continue;
      const intent = intents.get(entry.intent ?? -1);
      assert.ok(intent, `entry ${index} ends one intent`);
      intents.delete(entry.intent ?? -1);
      if (entry.detail.recovered === true) this.#tally.recoveredIntents++;
      closed.push({ ...intent, index: entry.intent ?? -1, result: entry.result ?? 'failed' });
    }
    assert.equal(intents.size, 0);
    return closed;
  }

  /** Finds out whether a change without an answer is there, holds it against the log, and expects what is there. */
  #settle(
    change: Asked,
    {
      expected,
      actual,
      outcomes,
    }: {
      readonly expected: Map<string, string>;
      readonly actual: ReadonlyMap<string, string>;
      readonly outcomes: readonly Closed[];
    },
  ): void {
    const facts = Object.entries(change.facts);
    const isOld = (fact: string) => actual.get(fact) === expected.get(fact);
    const isNew = (fact: string, value: string | null) =>
      value === '?' ? !isOld(fact) : (actual.get(fact) ?? null) === value;
    const said = JSON.stringify(change);
    if (change.isAtomic) {
      const isThere = facts.every(([fact, value]) => isNew(fact, value));
      const isNot = facts.every(([fact]) => isOld(fact));
      assert.ok(isThere || isNot, `half there: ${said}`);
      this.#tally.unanswered[isThere ? 'whollyThere' : 'whollyNot']++;
      const { action, subject, since } = change;
      if (action !== undefined) {
        const last = outcomes.findLast(
          (each) =>
            each.index >= since &&
            each.action === action &&
            (each.subject === subject || each.detail.label === subject),
        );
        const isDone = last?.result === 'done';
        assert.ok(isDone ? isThere : isNot, `the log calls it ${last?.result}: ${said}`);
        if (action === 'key.rotate') {
          const made = outcomes.findLast(
            (each) => each.index >= since && each.action === 'key.generate' && each.subject === subject,
          );
          assert.equal(made?.result === 'done', isThere, `the log calls the key ${made?.result}: ${said}`);
        }
      }
    } else {
      for (const [fact, value] of facts) assert.ok(isNew(fact, value) || isOld(fact), `half there: ${said}`);
      this.#tally.unanswered.eachWhole++;
    }
    for (const [fact] of facts) put(expected, fact, actual.get(fact) ?? null);
  }
}

/** All that the registry says of itself; every living version is verified for it. */
async function factsOf(guardian: Guardian): Promise<Map<string, string>> {
  const { registry, keys, database } = guardian;
  const facts = new Map<string, string>();
  const names = new Set<string>();
  for (const { name, version, state, isInLog, tags, holds } of await registry.list()) {
    const subject = `${name}@${version}`;
    assert.ok(isInLog, subject);
    names.add(name);
    facts.set(`version ${subject}`, state);
    for (const [key, value] of Object.entries(tags)) facts.set(`tag ${subject} ${key}`, value);
    for (const { reason } of holds) facts.set(`hold ${subject} ${reason}`, 'yes');
    if (state !== 'live') continue;
    for (const { principal } of (await registry.show(subject)).approvals) {
      facts.set(`approval ${subject} ${principal}`, 'yes');
    }
  }
  for (const name of names) {
    const history = await registry.history(name);
    if (history.length > 0) facts.set(`moves ${name}`, String(history.length));
    for (const [i, { alias, version, previous }] of history.entries()) {
      assert.equal(previous, history.slice(0, i).findLast((each) => each.alias === alias)?.version);
      facts.set(`alias ${name} ${alias}`, version);
    }
    for (const alias of new Set(history.map((move) => move.alias))) {
      assert.equal((await registry.resolve(`${name}@${alias}`)).version, facts.get(`alias ${name} ${alias}`));
    }
  }
  for (const { id, purpose, state } of await keys.list()) {
    if (state === 'active') {
      assert.ok(!facts.has(`active ${purpose}`), `one active key for ${purpose}`);
      facts.set(`active ${purpose}`, id);
    } else facts.set(`key ${id}`, state);
  }
  for (const { principal, roles, revokedAt } of await database.accessKeys.listAccessKeys()) {
    facts.set(`access ${principal}`, revokedAt === undefined ? roles.join('+') : 'revoked');
  }
  return facts;
}

/** As many wraps as living versions; what was erased keeps its sealed weights and opens for nobody. */
async function checkFiles(guardian: Guardian, facts: ReadonlyMap<string, string>): Promise<void> {
  const { registry, database, blobs, stateFolder } = guardian;
  const by = { principal: 'parent' };
  let live = 0;
  let files = 0;
  for (const [fact, state] of facts) {
    if (!fact.startsWith('version ')) continue;
    const subject = fact.slice('version '.length);
    const [name = '', version = ''] = subject.split('@');
    files += (state === 'pruned' ? 4 : 5) + (name === 'guest' ? 3 : 0);
    if (state === 'live') live++;
    else await assert.rejects(registry.verify(subject), { code: `registry.version-${state}` });
    if (state === 'erased') {
      const { hasWraps, state: is, escrowed } = await registry.custody.eraseStatus(name, version, by);
      assert.ok(!hasWraps && (is === 'complete' || escrowed > 0 || is === 'pending'), subject);
    }
  }
  assert.equal((await database.wraps.list()).length, live);
  assert.equal((await blobs.list('models')).length, files);
  for (const part of ['blobs', 'wraps', 'escrow']) {
    const left = readdirSync(join(stateFolder, part), { recursive: true, encoding: 'utf8' });
    assert.deepEqual(
      left.filter((file) => file.includes('.tmp-')),
      [],
    );
  }
}

function put(facts: Map<string, string>, fact: string, value: string | null): void {
  if (value === null) facts.delete(fact);
  else facts.set(fact, value);
}

function sorted(facts: ReadonlyMap<string, string>): string[] {
  return [...facts].map(([fact, value]) => `${fact} = ${value}`).sort();
}
