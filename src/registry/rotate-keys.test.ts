import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import type { AuditEntry } from '../audit/index.ts';
import { armFaultPoints, ManualClock } from '../base/index.ts';
import { type KeyInfo, sha256Hex } from '../crypto/index.ts';
import { stateLayout } from '../storage/index.ts';
import { KeyRevocations } from './key-revocations.ts';

const ADA = { principal: 'ada' };

interface Place {
  house: House;
  readonly folder: string;
  readonly clock: ManualClock;
  reopen(): Promise<House>;
}

/** A registry with three versions of one model. */
async function place(t: TestContext): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'rotate-'));
  const clock = new ManualClock();
  const house = await openHouse(folder, clock);
  for (let seed = 1; seed <= 3; seed++) await house.registry.publish(makeCandidate({ seed }), ADA);
  const at: Place = {
    house,
    folder,
    clock,
    reopen: async () => {
      await at.house.close();
      at.house = await openHouse(folder, clock);
      return at.house;
    },
  };
  t.after(async () => {
    await at.house.close();
    await rm(folder, { recursive: true, force: true });
  });
  return at;
}

async function verifyAll({ registry }: House, versions = ['1.0.0', '1.1.0', '1.2.0']): Promise<void> {
  for (const version of versions) assert.equal((await registry.verify(`flow@${version}`)).version, version);
}

/** Digests of every blob by name. */
async function blobDigests(folder: string): Promise<Map<string, string>> {
  const root = stateLayout(join(folder, 'state')).blobs;
  const digests = new Map<string, string>();
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) digests.set(path, sha256Hex(await readFile(path)));
  }
  return digests;
}

async function wrappingIds({ db }: House): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const id of await db.wraps.list())
    for (const { keyId } of (await db.wraps.get(id)).wraps) ids.add(keyId);
  return ids;
}

test('a new wrapping key wraps every data key anew and touches no blob', async (t) => {
  const at = await place(t);
  const blobs = await blobDigests(at.folder);
  const old = await at.house.keys.active('wrapping');
  const { key, previous, rewrapped } = await at.house.registry.rotateKey('wrapping', ADA);
  assert.deepEqual([previous, rewrapped, key.state], [old.id, 3, 'active']);
  assert.deepEqual(await wrappingIds(at.house), new Set([key.id]));
  assert.deepEqual(await blobDigests(at.folder), blobs);
  await verifyAll(at.house);
  await at.house.registry.revokeKey(old.id, ADA);
  await verifyAll(await at.reopen());
  assert.equal((await at.house.registry.rotateKey('wrapping', ADA, { resume: true })).rewrapped, 0);
});

test('what a retired key signed verifies, and the new key signs what comes', async (t) => {
  const at = await place(t);
  const { key } = await at.house.registry.rotateKey('model-signing', ADA);
  await at.house.registry.publish(makeCandidate({ seed: 4 }), ADA);
  await verifyAll(await at.reopen(), ['1.0.0', '1.1.0', '1.2.0', '1.3.0']);
  assert.equal((await at.house.keys.active('model-signing')).id, key.id);
});

test('a new log key signs the next checkpoint, and the log opens though the old one is revoked', async (t) => {
  const at = await place(t);
  const old = await at.house.keys.active('log-signing');
  await at.house.registry.revokeKey(old.id, ADA);
  assert.equal((await at.house.keys.find(old.id))?.state, 'revoked');
  await verifyAll(await at.reopen());
});

test('a revoked key signs nothing, though the key store was put back to before, and what it signed stays good', async (t) => {
  const at = await place(t);
  const keyFile = stateLayout(join(at.folder, 'state')).keys;
  const before = await readFile(keyFile);
  const stolen = await at.house.keys.active('model-signing');
  await at.house.registry.revokeKey(stolen.id, ADA);
  await assert.rejects(at.house.keys.sign(stolen.id, Buffer.from('x')), { code: 'crypto.key-refused' });
  await verifyAll(await at.reopen());
  await at.house.close();
  await writeFile(keyFile, before);
  at.house = await openHouse(at.folder, at.clock);
  assert.equal((await at.house.keys.active('model-signing')).id, stolen.id);
  await assert.rejects(at.house.registry.publish(makeCandidate({ seed: 5 }), { principal: 'thief' }), {
    code: 'registry.signer-revoked',
  });
  assert.equal((await at.house.registry.list()).length, 3);
  await verifyAll(at.house);
});

test('the order of the log decides what a revoked key signed before and what after', () => {
  const revocations = new KeyRevocations();
  const key = { id: 'k', state: 'active' } as KeyInfo;
  const say = (kind: 'intent' | 'outcome', index: number, fields: Partial<AuditEntry>) =>
    revocations.add(index, {
      ...{
        v: 1,
        kind,
        time: '2026-01-01T00:00:00.000Z',
        action: 'key.revoke',
        principal: 'ada',
        subject: 'k',
      },
      detail: { from: null },
      ...fields,
    });
  const time = '2026-01-01T00:00:00.000Z';
  say('intent', 10, {});
  say('outcome', 11, { intent: 10, result: 'failed' });
  assert.ok(!revocations.covers(key, { intent: 12, time }), 'a revocation that failed is none');
  assert.ok(
    revocations.covers({ ...key, state: 'revoked' }, { intent: 1, time }),
    'the key store alone says so',
  );
  say('intent', 20, {});
  say('outcome', 21, { intent: 20, result: 'done' });
  assert.ok(!revocations.covers({ ...key, state: 'revoked' }, { intent: 19, time }));
  assert.ok(revocations.covers(key, { intent: 22, time }));
});

test('with a time, what was signed since is refused too', async (t) => {
  const at = await place(t);
  const stolen = await at.house.keys.active('model-signing');
  at.clock.advance(60_000);
  const from = new Date(at.clock.now()).toISOString();
  at.clock.advance(60_000);
  await at.house.registry.publish(makeCandidate({ seed: 4 }), ADA);
  await at.house.registry.revokeKey(stolen.id, ADA, { from });
  for (const round of [1, 2]) {
    const house = round === 1 ? at.house : await at.reopen();
    await verifyAll(house);
    await assert.rejects(house.registry.verify('flow@1.3.0'), { code: 'registry.signer-revoked' });
    await assert.rejects(house.registry.custody.card('flow', '1.3.0'), { code: 'registry.signer-revoked' });
  }
});

test('revoking names unknown and revoked keys, and rotates an active one first', async (t) => {
  const { house } = await place(t);
  await assert.rejects(house.registry.revokeKey('nobody', ADA), { code: 'registry.key-unknown' });
  const { id } = await house.keys.active('wrapping');
  await house.registry.revokeKey(id, ADA);
  assert.notEqual((await house.keys.active('wrapping')).id, id);
  await verifyAll(house);
  await assert.rejects(house.registry.revokeKey(id, ADA), { code: 'registry.key-revoked' });
});

test('an error in the middle leaves every data key openable, and resume finishes', async (t) => {
  const at = await place(t);
  let passed = 0;
  armFaultPoints((name) => {
    if (name === 'registry.rotate.rewrapped' && ++passed === 2) throw new RangeError('cut');
  });
  await assert.rejects(at.house.registry.rotateKey('wrapping', ADA), RangeError);
  armFaultPoints(undefined);
  assert.equal((await wrappingIds(at.house)).size, 2);
  await verifyAll(await at.reopen());
  assert.equal((await at.house.registry.rotateKey('wrapping', ADA, { resume: true })).rewrapped, 1);
  assert.equal((await wrappingIds(at.house)).size, 1);
  await verifyAll(at.house);
});
