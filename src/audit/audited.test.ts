import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { clock, emptyPlace, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import { type FileKeyStore, SecretBuffer, sha256 } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import { audited, recoverIntents } from './audited.ts';
import { auditedKeyStore } from './audited-key-store.ts';
import { DenialCollapser } from './denial-collapser.ts';
import { AUDIT_ERRORS, AuditError } from './errors.ts';
import { openAuditLog } from './open-audit-log.ts';
import { verifyProof, verifyProofFile, writeProofFile } from './proof-file.ts';
import { tilePath } from './tile-files.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

let keys: FileKeyStore;
let logPublicKeyPem: string;

before(async () => {
  ({ keys, logPublicKeyPem } = await memoryKeys());
});

async function fresh(t: TestContext, policy = onDemand): Promise<{ log: AuditLog; folder: string }> {
  const folder = await emptyPlace(t, () => log.close());
  const log: AuditLog = await openAuditLog({ folder, keys, clock, policy });
  return { log, folder };
}

async function all(log: AuditLog) {
  const out = [];
  for await (const { entry } of log.entries()) out.push(entry);
  return out;
}

const promote = {
  action: 'model.promote',
  principal: 'ada',
  subject: 'flow@1.0.0',
  detail: { alias: 'champion' },
};

test('logs intent, then work, then outcome, and passes the value through', async (t) => {
  const { log } = await fresh(t);
  const value = await audited(log, promote, async (intent) => {
    assert.equal(log.size, 1, 'the intent is durable before the work');
    assert.deepEqual(await log.openIntents(), [{ index: 0, entry: await log.entry(intent) }]);
    return 42;
  });
  assert.equal(value, 42);
  assert.deepEqual(await log.openIntents(), []);
  const time = '2026-01-01T00:00:00.000Z';
  assert.deepEqual(await all(log), [
    { v: 1, kind: 'intent', time, ...promote },
    { v: 1, kind: 'outcome', time, ...promote, intent: 0, result: 'done' },
  ]);
});

test('logs a failed outcome with a code and never a message, and throws on', async (t) => {
  const { log } = await fresh(t);
  const fail = (error: unknown) => audited(log, promote, () => Promise.reject(error));
  await assert.rejects(fail(new AuditError('audit.closed', 'canary')), { code: 'audit.closed' });
  await assert.rejects(fail(new TypeError('canary')), TypeError);
  await assert.rejects(fail('canary'), (error) => error === 'canary');
  const outcomes = (await all(log)).filter((entry) => entry.kind === 'outcome');
  assert.deepEqual(
    outcomes.map(({ result, reason }) => [result, reason]),
    [
      ['failed', 'audit.closed'],
      ['failed', 'TypeError'],
      ['failed', 'unknown'],
    ],
  );
  assert.ok(!JSON.stringify(outcomes).includes('canary'));
});

test('recovery closes open intents as found, also after a crash and a new start', async (t) => {
  const { log, folder } = await fresh(t);
  await log.append({ kind: 'intent', ...promote });
  await log.append({ kind: 'intent', ...promote, subject: 'flow@2.0.0' });
  await log.close();
  const again = await openAuditLog({ folder, keys, clock, policy: onDemand });
  assert.equal((await again.openIntents()).length, 2);
  const closed = await recoverIntents(again, async (index) => (index === 0 ? 'done' : 'aborted'));
  assert.equal(closed, 2);
  assert.deepEqual(await again.openIntents(), []);
  assert.deepEqual(
    (await all(again)).slice(2).map(({ intent, result, principal }) => [intent, result, principal]),
    [
      [0, 'done', 'system'],
      [1, 'aborted', 'system'],
    ],
  );
  await again.close();
});

test('refuses an outcome without an open intent, a second one, and entries that are malformed or too large', async (t) => {
  const { log } = await fresh(t);
  const intent = await log.append({ kind: 'intent', ...promote });
  const outcome = { kind: 'outcome', ...promote, intent, result: 'done' } as const;
  const [first, second] = await Promise.allSettled([log.append(outcome), log.append(outcome)]);
  assert.equal(first?.status, 'fulfilled');
  assert.equal(second?.status, 'rejected');
  const invalid = { code: 'audit.entry-invalid', category: 'validation' };
  await assert.rejects(log.append(outcome), invalid);
  await assert.rejects(log.append({ ...outcome, intent: 99 }), invalid);
  await assert.rejects(log.append({ kind: 'outcome', ...promote, intent }), invalid, 'no result');
  await assert.rejects(log.append({ kind: 'event', ...promote, result: 'done' }), invalid);
  await assert.rejects(log.append({ kind: 'event', ...promote, detail: { x: Number.NaN } }), invalid);
  await assert.rejects(log.append({ kind: 'event', ...promote, detail: { x: undefined } }), invalid);
  await assert.rejects(log.append({ kind: 'event', ...promote, principal: '\ud800' }), invalid);
  const text = (n: number) => ({ kind: 'event', ...promote, detail: { text: 'x'.repeat(n) } }) as const;
  const room = 65_535 - JSON.stringify({ v: 1, time: '2026-01-01T00:00:00.000Z', ...text(0) }).length;
  await assert.rejects(log.append(text(room + 1)), { code: 'audit.entry-too-large' });
  const index = await log.append(text(room));
  assert.equal((await log.entry(index)).detail.text, 'x'.repeat(room));
});

test('signs a checkpoint by itself after so many entries, and after a while', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { log, folder } = await fresh(t, { entries: 4, delayMs: 1000 });
  const covered = async () => (await verifyAuditLog({ folder, logPublicKeyPem })).size;
  for (let n = 0; n < 4; n++) await log.append(note(n));
  // Reading back waits in no line; asking for the checkpoint does, and finds the one that was just signed.
  assert.equal((await log.checkpoint()).size, 4);
  await log.append(note(4));
  await log.entry(4);
  assert.equal(await covered(), 4);
  t.mock.timers.tick(1000);
  const proof = await log.inclusionProof(4);
  assert.equal(proof.checkpoint.size, 5);
  assert.equal(await covered(), 5);
});

test('stays durable while no checkpoint can be signed, and signs when the key is back', async (t) => {
  const { keys: own, logPublicKeyPem: pem } = await memoryKeys();
  let isAway = false;
  const flaky = Object.create(own, {
    active: {
      value: (purpose: 'log-signing') =>
        isAway ? Promise.reject(new RangeError('away')) : own.active(purpose),
    },
    list: { value: () => own.list() },
    sign: { value: (id: string, message: Uint8Array) => own.sign(id, message) },
  });
  const folder = await emptyPlace(t);
  const log = await openAuditLog({ folder, keys: flaky, clock, policy: { entries: 2, delayMs: 2 ** 30 } });
  isAway = true;
  for (let n = 0; n < 5; n++) assert.equal(await log.append(note(n)), n);
  await assert.rejects(log.checkpoint(), RangeError);
  isAway = false;
  await log.append(note(5));
  await log.close();
  assert.equal((await verifyAuditLog({ folder, logPublicKeyPem: pem })).size, 6);
});

test('stops when another writer changes the log', async (t) => {
  const { log, folder } = await fresh(t);
  await log.append(note(0));
  await appendFile(join(folder, tilePath('entries', 0)), 'x');
  await assert.rejects(log.append(note(1)), {
    code: 'audit.foreign-write',
    category: 'security',
    fatal: true,
  });
  await assert.rejects(log.append(note(2)), { code: 'audit.foreign-write' });
});

test('gives no entry and no proof that its files no longer bear out', async (t) => {
  const { log, folder } = await fresh(t);
  for (let n = 0; n < 5; n++) await log.append(note(n));
  await log.checkpoint();
  const bundle = join(folder, tilePath('entries', 0));
  const good = await readFile(bundle);
  await writeFile(bundle, good.toString('latin1').replace('"s1"', '"s9"'), 'latin1');
  await assert.rejects(log.entry(1), { code: 'audit.entry-changed' });
  assert.equal((await log.entry(2)).subject, 's2');
  await writeFile(bundle, good.subarray(0, 300));
  await assert.rejects(log.entry(4), { code: 'audit.truncated' });
  await writeFile(bundle, good);
  const tile = join(folder, tilePath(0, 0));
  const hashes = await readFile(tile);
  await writeFile(tile, Buffer.from(hashes).fill(0, 70, 71));
  await assert.rejects(log.inclusionProof(0), { code: 'audit.tile-mismatch' });
  await writeFile(tile, hashes.subarray(0, 64));
  await assert.rejects(log.inclusionProof(0), { code: 'audit.tile-mismatch' });
  await writeFile(tile, hashes);
  await log.inclusionProof(0);
});

test('proves from its tiles that entries stand in it and that it only grew', async (t) => {
  const { log } = await fresh(t);
  await Promise.all(Array.from({ length: 530 }, (_, n) => log.append(note(n))));
  for (const index of [0, 1, 255, 256, 511, 512, 529]) await log.inclusionProof(index);
  for (const [from, to] of [
    [0, 530],
    [1, 530],
    [255, 257],
    [256, 512],
    [300, 529],
    [530, 530],
    [0, 0],
  ] as const) {
    await log.consistencyProof(from, to);
  }
  await assert.rejects(log.inclusionProof(530), { code: 'audit.entry-missing' });
  await assert.rejects(log.inclusionProof(-1), { code: 'audit.entry-missing' });
  await assert.rejects(log.consistencyProof(3, 2), { code: 'audit.entry-missing' });
  await assert.rejects(log.consistencyProof(3, 531), { code: 'audit.entry-missing' });
});

test('writes a proof file that verifies offline, and refuses it with any byte changed', async (t) => {
  const { log, folder } = await fresh(t);
  for (let n = 0; n < 6; n++) await log.append(note(n));
  const path = join(dirname(folder), 'entry-3.tlog-proof');
  await writeProofFile(log, 3, path);
  const { index, entry, checkpoint } = await verifyProofFile(path, { logPublicKeyPem });
  assert.deepEqual([index, entry.subject, checkpoint.size], [3, 's3', 6]);
  const text = await readFile(path, 'utf8');
  assert.ok(text.startsWith('c2sp.org/tlog-proof@v1\nextra '));
  const good = Buffer.from(text);
  for (let i = 0; i < good.length; i++) {
    const bad = Buffer.from(good);
    bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
    assert.throws(
      () => verifyProof(bad.toString(), [logPublicKeyPem]),
      { category: 'security' },
      `byte ${i}`,
    );
    assert.throws(() => verifyProof(good.toString('utf8', 0, i), [logPublicKeyPem]), {
      category: 'security',
    });
  }
  const stranger = await memoryKeys();
  assert.throws(() => verifyProof(text, [stranger.logPublicKeyPem]), { code: 'audit.checkpoint-forged' });
});

test('an audited key store logs each use before it happens, and only counts log signatures', async (t) => {
  const { log } = await fresh(t);
  const { keys: own } = await memoryKeys();
  const store = auditedKeyStore(own, log, { principal: 'registry' });
  assert.equal(store.kind, 'file');
  const signing = await store.active('model-signing');
  const wrapping = await store.active('wrapping');
  const logKey = await store.active('log-signing');
  assert.equal((await store.list()).length, 4);
  await store.sign(signing.id, Buffer.from('m'));
  const wrapped = await store.wrap(wrapping.id, SecretBuffer.random(32));
  await store.unwrap(wrapping.id, wrapped);
  await assert.rejects(store.unwrap(wrapping.id, Buffer.alloc(40)), { code: 'crypto.integrity' });
  await store.sign(logKey.id, Buffer.from('m'));
  assert.equal(store.logSignatures, 1);
  await assert.rejects(store.sign('nobody', Buffer.from('m')), { code: 'crypto.key-missing' });
  const entries = await all(log);
  assert.deepEqual(
    entries
      .filter(({ kind }) => kind === 'outcome')
      .map(({ action, result, reason }) => [action, result, reason]),
    [
      ['key.sign', 'done', undefined],
      ['key.wrap', 'done', undefined],
      ['key.unwrap', 'done', undefined],
      ['key.unwrap', 'failed', 'crypto.integrity'],
      ['key.sign', 'failed', 'crypto.key-missing'],
    ],
  );
  assert.deepEqual(entries[0]?.detail, { message: sha256('m') });
  assert.ok(entries.every(({ principal }) => principal === 'registry'));
  await store.close();
  await assert.rejects(store.generate('wrapping'), { code: 'crypto.store-closed' });
});

test('collapses denials to one entry per principal, reason and second', async (t) => {
  const { log } = await fresh(t);
  const denials = new DenialCollapser({ log, clock, maxKeys: 3 });
  const denial = { principal: 'eve', reason: 'server.forbidden', action: 'model.promote', subject: 'flow' };
  for (let n = 0; n < 1000; n++) denials.deny(denial);
  denials.deny({ ...denial, reason: 'server.unauthorized' });
  clock.advance(1000);
  denials.deny(denial);
  for (let n = 0; n < 50; n++) denials.deny({ ...denial, principal: `stranger-${n}` });
  await denials.close();
  await denials.close();
  assert.deepEqual(
    (await all(log)).map(({ principal, reason, detail }) => [principal, reason, detail.count]),
    [
      ['eve', 'server.forbidden', 1000],
      ['eve', 'server.unauthorized', 1],
      ['eve', 'server.forbidden', 1],
      ['(others)', 'server.forbidden', 50],
    ],
  );
});

test('keeps denials that could not be logged, and writes hostile names cut and well-formed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { log } = await fresh(t);
  let isAway = true;
  let failures = 0;
  const failed = Promise.withResolvers<void>();
  const flaky: AuditLog = Object.create(log, {
    append: {
      value: (input: Parameters<AuditLog['append']>[0]) =>
        isAway ? Promise.reject(new RangeError()) : log.append(input),
    },
  });
  const onError = () => {
    failures++;
    failed.resolve();
  };
  const denials = new DenialCollapser({ log: flaky, clock, onError });
  const denial = { principal: `\ud800${'x'.repeat(5000)}`, reason: 'r', action: 'a', subject: 's' };
  denials.deny(denial);
  t.mock.timers.tick(1000);
  await failed.promise;
  assert.equal(failures, 1);
  isAway = false;
  denials.deny(denial);
  await denials.flush();
  const [entry] = await all(log);
  assert.equal(entry?.principal, `\ufffd${'x'.repeat(255)}`);
  assert.equal(entry?.detail.count, 2);
});

test('every code begins with the folder, and what may be tampering is security', () => {
  for (const [code, entry] of Object.entries(AUDIT_ERRORS)) {
    assert.match(code, /^audit\.[a-z-]+$/);
    assert.ok(entry.says.length > 20);
    if (/changed|truncated|mismatch|forged|rolled|foreign/.test(code))
      assert.equal(entry.category, 'security');
  }
});
