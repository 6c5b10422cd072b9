import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { verifyProof } from '../audit/index.ts';
import { ManualClock } from '../base/index.ts';
import { LogIndex } from './log-index.ts';

const [ADA, BOB, CAROL] = [{ principal: 'ada' }, { principal: 'bob' }, { principal: 'carol' }];
const CHANGES = 60;

let folder: string;
let house: House;
const clock = new ManualClock();
const start = clock.now();
const { evaluator } = fixtureEvaluator();
const parts = { policy: { approvals: 2 }, evaluator } as const;

/** Two versions that take turns, a move a minute; the first by two people and the evaluator. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'served-'));
  house = await openHouse(folder, clock, parts);
  const { registry } = house;
  await registry.registerGateData('flow', { path: '/d', schemaBytes: FIXTURE_SCHEMA }, BOB);
  for (const seed of [1, 2]) {
    const { version } = await registry.publish(makeCandidate({ seed }), ADA);
    for (const by of [BOB, CAROL]) await registry.approve('flow', version, by);
  }
  for (let i = 0; i < CHANGES; i++) {
    clock.advance(60_000);
    await registry.promote('flow', i % 2 === 0 ? '1.0.0' : '1.1.0', 'champion', BOB);
  }
});

after(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

test('tells at any time what served, who approved it, and on what evidence', async () => {
  for (let i = 0; i < CHANGES; i++) {
    const at = start + (i + 1) * 60_000;
    for (const time of [at, at + 59_999]) {
      const served = await house.registry.servedAt('flow', 'champion', time);
      assert.equal(served.change?.version, i % 2 === 0 ? '1.0.0' : '1.1.0', String(i));
      assert.equal(served.change.doneAt, new Date(at).toISOString());
      assert.equal(served.until?.time, i + 1 < CHANGES ? new Date(at + 60_000).toISOString() : undefined);
    }
  }
  const served = await house.registry.servedAt('flow', 'champion', clock.now());
  assert.deepEqual(served.change?.approvals, ['bob', 'carol']);
  assert.deepEqual(
    served.approvals.map(({ principal }) => principal),
    ['bob', 'carol'],
  );
  assert.equal(served.evidence?.version, '1.1.0');
  assert.equal(served.evidence.gates.passed, true);
  assert.equal(served.gateReport?.passed, true);
  assert.equal(served.until, null);
});

test('proves each entry that it speaks of, to whom holds the public key alone', async () => {
  const served = await house.registry.servedAt('flow', 'champion', start + 5 * 60_000);
  const { publicKeyPem = '' } = await house.keys.active('log-signing');
  const proven = served.proofs.map(({ proof }) => verifyProof(proof, [publicKeyPem]));
  assert.deepEqual(
    proven.map(({ entry }) => [entry.kind, entry.action, entry.result]),
    [
      ['intent', 'model.promote', undefined],
      ['outcome', 'model.promote', 'done'],
      ['intent', 'model.approve', undefined],
      ['intent', 'model.approve', undefined],
    ],
  );
  assert.equal(proven[0]?.entry.subject, 'flow@1.0.0');
  assert.equal(proven[0].entry.detail.evidence, served.change?.evidence);
  assert.equal(proven[1]?.entry.intent, proven[0].index);
});

test('before the first move there was nothing, and an alias that never was is unknown', async () => {
  const served = await house.registry.servedAt('flow', 'champion', start);
  assert.equal(served.change, null);
  assert.equal(served.until?.version, '1.0.0');
  await assert.rejects(house.registry.servedAt('flow', 'shadow', start), { code: 'registry.alias-unknown' });
  await assert.rejects(house.registry.servedAt('../x', 'champion', start), { code: 'registry.name-invalid' });
});

test('reads no entry again to answer: only the proofs read the log', async (t) => {
  const entries = t.mock.method(house.log, 'entries');
  await house.registry.servedAt('flow', 'champion', clock.now());
  // One bundle for the text of each proven entry.
  const read = entries.mock.calls.map(({ arguments: [from, to] }) => Number(to) - Number(from));
  assert.deepEqual(read, [1, 1, 1, 1]);
});

test('refuses where the database tells another move', async () => {
  const path = join(folder, 'state', 'guardian.db');
  const edit = (text: string) => {
    const db = new DatabaseSync(path);
    db.exec(text);
    db.close();
  };
  const { intent } = (await house.registry.history('flow'))[3] as { intent: number };
  edit(`UPDATE alias_history SET principal = 'mallory' WHERE intent = ${intent}`);
  const at = start + 4 * 60_000;
  await assert.rejects(house.registry.servedAt('flow', 'champion', at), {
    code: 'registry.pointer-not-in-log',
  });
  edit(`UPDATE alias_history SET principal = 'bob' WHERE intent = ${intent}`);
  await house.registry.servedAt('flow', 'champion', at);
});

test('an index that is read anew is the index that grew', async () => {
  const again = new LogIndex(house.log);
  await again.catchUp();
  const told = (await house.registry.history('flow')).map(({ outcome }) => outcome);
  assert.deepEqual(
    again.allMoves('flow').map(({ outcome }) => outcome),
    told,
  );
  assert.equal(told.length, CHANGES);
});

test('a move of before approvals and evaluators reads as one approval and submitter gates', async () => {
  const detail = { alias: 'champion', previous: null, approvals: ['ada'], approvalsRequired: 1 };
  const action = { action: 'model.promote', principal: 'ada', subject: 'old@1.0.0', detail };
  const intent = await house.log.append({ kind: 'intent', ...action });
  await house.log.append({ kind: 'outcome', ...action, intent, result: 'done' });
  const index = new LogIndex(house.log);
  await index.catchUp();
  const [move] = index.allMoves('old');
  assert.deepEqual(
    [move?.approvalsRequired, move?.gates, move?.evidence, move?.approvalIntents],
    [1, 'submitter', undefined, []],
  );
});
