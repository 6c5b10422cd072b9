import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { auditWorkload, openKeys } from '../../test/support/audit-crash.ts';
import { clock, emptyPlace, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import { armFaultPoints } from '../base/index.ts';
import { createFileKeyStore } from '../crypto/index.ts';
import { openAuditLog } from './open-audit-log.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

const child = fileURLToPath(new URL('../../test/support/audit-crash.ts', import.meta.url));

/** How often the workload passes each point; the crash test dies at the first and the last time. */
const FAULT_POINTS = {
  'audit.create.before-write': 1,
  'audit.create.after-write': 1,
  'audit.entries.before-write': 5,
  'audit.entries.after-create': 2,
  'audit.entries.after-write': 5,
  'audit.entries.after-sync': 5,
  'audit.tiles.after-write': 6,
  'audit.tiles.after-sync': 3,
  'audit.checkpoint.before-write': 3,
  'audit.checkpoint.after-write': 3,
  'base.files.before-rename': 4,
  'base.files.after-rename': 4,
};

async function rootWithKeys(t: TestContext): Promise<string> {
  const root = dirname(await emptyPlace(t));
  const secret = { kind: 'file', path: join(root, 'unlock.key') } as const;
  await (await createFileKeyStore({ path: join(root, 'keys.json'), secret, clock })).close();
  return root;
}

test('the crash test knows every fault point of the workload', async (t) => {
  const root = await rootWithKeys(t);
  const passed = new Map<string, number>();
  armFaultPoints((name) => passed.set(name, (passed.get(name) ?? 0) + 1));
  t.after(() => armFaultPoints(undefined));
  await auditWorkload(root, () => {});
  assert.deepEqual(
    Object.fromEntries([...passed].sort()),
    Object.fromEntries(Object.entries(FAULT_POINTS).sort()),
  );
});

test('killed at any fault point, a log opens with every acknowledged entry and verifies', async (t) => {
  const template = await rootWithKeys(t);
  for (const [fault, times] of Object.entries(FAULT_POINTS)) {
    for (const nth of new Set([1, times])) {
      const root = `${template}-${fault}-${nth}`;
      t.after(() => rm(root, { recursive: true, force: true }));
      await cp(template, root, { recursive: true });
      const { signal, durable } = await runChild(root, fault, nth);
      assert.equal(signal, 'SIGKILL', `${fault} ${nth}`);
      await expectWhole(root, durable, `${fault} ${nth}`);
    }
  }
});

async function runChild(root: string, fault: string, nth: number) {
  const process_ = spawn(process.execPath, [child, root, fault, String(nth)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  process_.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const signal = await new Promise((done) => process_.on('close', (_, name) => done(name)));
  return { signal, durable: out.split('\n').filter(Boolean).map(Number) };
}

async function expectWhole(root: string, durable: readonly number[], what: string): Promise<void> {
  const keys = await openKeys(root);
  const folder = join(root, 'audit');
  const log = await openAuditLog({ folder, keys, clock, policy: onDemand });
  const subjects = new Set<string>();
  for await (const { entry } of log.entries()) subjects.add(entry.subject);
  for (const n of durable)
    assert.ok(subjects.has(`s${n}`), `${what}: entry ${n} was acknowledged and is gone`);
  await log.append(note(999));
  await log.close();
  const logPublicKeyPem = (await keys.active('log-signing')).publicKeyPem ?? '';
  const { size, uncovered } = await verifyAuditLog({ folder, logPublicKeyPem });
  assert.equal(uncovered, 0, what);
  assert.ok(size > durable.length, what);
}

test('a write that is lost leaves the log usable; one of unknown fate ends it until it is opened again', async (t) => {
  const { keys, logPublicKeyPem } = await memoryKeys();
  t.after(() => armFaultPoints(undefined));
  const failOnce = (point: string) => {
    let isArmed = true;
    armFaultPoints((name) => {
      if (name !== point || !isArmed) return;
      isArmed = false;
      throw new RangeError('injected');
    });
  };
  const folder = await emptyPlace(t);
  await mkdir(dirname(folder), { recursive: true });
  const open = () => openAuditLog({ folder, keys, clock, policy: onDemand });

  const log = await open();
  await log.append(note(0));
  failOnce('audit.entries.after-write');
  await assert.rejects(log.append(note(1)), { code: 'audit.append-failed', retry: true });
  assert.equal(await log.append(note(2)), 1, 'the lost entry took no index');
  failOnce('audit.entries.after-sync');
  await assert.rejects(log.append(note(3)), { code: 'audit.broken', fatal: true });
  await assert.rejects(log.append(note(4)), { code: 'audit.broken' });
  await assert.rejects(log.checkpoint(), { code: 'audit.broken' });
  await log.close();

  const second = await open();
  assert.equal((await second.entry(2)).subject, 's3', 'persisted, though reported lost');
  assert.equal((await second.entry(3)).action, 'audit.recover');
  failOnce('audit.tiles.after-write');
  assert.equal(await second.append(note(5)), 4, 'the entry is durable, so it is acknowledged');
  await assert.rejects(second.append(note(6)), { code: 'audit.broken' });
  await second.close();

  const third = await open();
  failOnce('audit.tiles.after-sync');
  await third.append(note(7));
  await assert.rejects(third.checkpoint(), { code: 'audit.broken' });
  await third.close();

  const fourth = await open();
  await fourth.append(note(8));
  failOnce('base.files.before-rename');
  await assert.rejects(fourth.checkpoint(), RangeError);
  await fourth.append(note(9));
  await fourth.close();
  assert.equal((await verifyAuditLog({ folder, logPublicKeyPem })).uncovered, 0);
});
