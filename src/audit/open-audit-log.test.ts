import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { ManualClock } from '../base/index.ts';
import { createFileKeyStore, type KeyStore } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditInput } from './entry.ts';
import { AuditError } from './errors.ts';
import { openAuditLog } from './open-audit-log.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

const clock = new ManualClock();
const manual = { entries: 1e9, delayMs: 1e9 };
let keys: KeyStore;
let logPublicKeyPem: string;

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'audit-keys-'));
  const secret = { kind: 'file', path: join(folder, 'unlock.key') } as const;
  keys = await createFileKeyStore({ path: join(folder, 'keys.json'), secret, clock });
  logPublicKeyPem = (await keys.active('log-signing')).publicKeyPem ?? '';
  await rm(folder, { recursive: true });
});

function event(n: number): AuditInput {
  return { kind: 'event', action: 'test.note', principal: 'tester', subject: `s${n}`, detail: { n } };
}

async function place(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'audit-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'audit');
}

const openAt = (folder: string): Promise<AuditLog> => openAuditLog({ folder, keys, clock, policy: manual });
const verify = (folder: string) => verifyAuditLog({ folder, logPublicKeyPem });

async function filled(t: TestContext, count: number, { clean = true } = {}): Promise<string> {
  const folder = await place(t);
  const log = await openAt(folder);
  await Promise.all(Array.from({ length: count }, (_, i) => log.append(event(i))));
  if (clean) {
    await log.close();
    return folder;
  }
  // What a crash leaves: a copy of the files while the log is open.
  const crashed = `${folder}-crashed`;
  await cp(folder, crashed, { recursive: true });
  await log.close();
  return crashed;
}

async function files(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
}

test('appends in order, reads back, and verifies after a clean close with nothing uncovered', async (t) => {
  const folder = await place(t);
  const log = await openAt(folder);
  const indices = await Promise.all(Array.from({ length: 600 }, (_, i) => log.append(event(i))));
  assert.deepEqual(
    indices,
    indices.map((_, i) => i),
  );
  assert.equal(log.size, 600);
  assert.equal((await log.entry(257)).subject, 's257');
  let n = 250;
  for await (const { index, entry } of log.entries(250, 520)) {
    assert.equal(index, n);
    assert.equal(entry.subject, `s${n}`);
    n++;
  }
  assert.equal(n, 520);
  await assert.rejects(log.entry(600), { code: 'audit.entry-missing' });
  await log.close();
  await assert.rejects(log.append(event(0)), { code: 'audit.closed' });
  const { size, uncovered, verified } = await verify(folder);
  assert.deepEqual({ size, uncovered, verified }, { size: 600, uncovered: 0, verified: true });
  const again = await openAt(folder);
  assert.equal(again.size, 600);
  assert.equal(await again.append(event(600)), 600);
  await again.close();
  assert.equal((await verify(folder)).size, 601);
});

test('refuses every flipped byte of a small closed log with a security error', async (t) => {
  const folder = await filled(t, 3);
  const codes = new Set<string>();
  for (const file of await files(folder)) {
    const good = await readFile(file);
    for (let i = 0; i < good.length; i++) {
      const bad = Buffer.from(good);
      bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
      await writeFile(file, bad);
      for (const check of [verify, openAt]) {
        const error = await check(folder).then(
          () => undefined,
          (e: unknown) => e,
        );
        assert.ok(error instanceof AuditError, `${file} byte ${i}: ${error}`);
        assert.equal(error.category, 'security', `${file} byte ${i}: ${error}`);
        codes.add(error.code);
      }
    }
    await writeFile(file, good);
  }
  assert.deepEqual([...codes].sort(), [
    'audit.checkpoint-forged',
    'audit.entry-changed',
    'audit.tile-mismatch',
  ]);
  await verify(folder);
});

test('refuses every flipped byte of entries after the last checkpoint too', async (t) => {
  const folder = await filled(t, 3, { clean: false });
  for (const file of await files(join(folder, 'tile'))) {
    const good = await readFile(file);
    for (let i = 0; i < good.length; i++) {
      const bad = Buffer.from(good);
      bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
      await writeFile(file, bad);
      await assert.rejects(verify(folder), { category: 'security' }, `${file} byte ${i}`);
    }
    await writeFile(file, good);
  }
  assert.equal((await verify(folder)).uncovered, 3);
  await (await openAt(folder)).close();
});
