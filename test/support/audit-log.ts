import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AuditInput } from '../../src/audit/index.ts';
import { ManualClock } from '../../src/base/index.ts';
import { createFileKeyStore, type FileKeyStore } from '../../src/crypto/index.ts';

export const clock = new ManualClock();

/** No checkpoint by itself: the tests ask for theirs. */
export const onDemand = { entries: 1e9, delayMs: 2 ** 30 };

/** A key store whose file is gone once it is open: for tests that never reopen it. */
export async function memoryKeys(): Promise<{ keys: FileKeyStore; logPublicKeyPem: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'audit-keys-'));
  const secret = { kind: 'file', path: join(folder, 'unlock.key') } as const;
  const keys = await createFileKeyStore({ path: join(folder, 'keys.json'), secret, clock });
  await rm(folder, { recursive: true });
  return { keys, logPublicKeyPem: (await keys.active('log-signing')).publicKeyPem ?? '' };
}

/** A folder that is not there yet, removed after the test, once `beforeRemoval` has closed what is open in it. */
export async function emptyPlace(t: TestContext, beforeRemoval?: () => Promise<void>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'audit-'));
  t.after(async () => {
    await beforeRemoval?.();
    await rm(folder, { recursive: true, force: true });
  });
  return join(folder, 'audit');
}

export function note(n: number): AuditInput {
  return { kind: 'event', action: 'test.note', principal: 'tester', subject: `s${n}`, detail: { n } };
}

export async function filesUnder(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
}
