import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { CryptoError, type KeyStore } from '../crypto/index.ts';
import { openRegistry, type Registry } from './registry.ts';
import type { VerifiedModel } from './verify.ts';

const ADA = { principal: 'ada' };

let folder: string;
let house: House;
let registry: Registry;
let isAway = false;
const held: VerifiedModel[] = [];

/** A key store that can be unplugged; the log keeps its own. */
function unpluggable(keys: KeyStore): KeyStore {
  return new Proxy(keys, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (isAway && ['sign', 'unwrap', 'wrap'].includes(String(name))) {
          return Promise.reject(new CryptoError('crypto.hsm-away', 'the token is gone'));
        }
        return Reflect.apply(value, target, args);
      };
    },
  });
}

/** A key store that cannot even be read while it is away. */
function blind(keys: KeyStore): KeyStore {
  return new Proxy(keys, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) =>
        isAway
          ? Promise.reject(new CryptoError('crypto.hsm-away', 'the token is gone'))
          : Reflect.apply(value, target, args);
    },
  });
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'resident-'));
  house = await openHouse(folder);
  const { log, blobs, db } = house;
  registry = await openRegistry({ keys: unpluggable(house.keys), log, blobs, db, clock: new ManualClock() });
  for (const seed of [1, 2]) {
    const { version } = await registry.publish(makeCandidate({ seed }), ADA);
    await registry.promote('flow', version, 'champion', ADA);
    held.push(await registry.verify(`flow@${version}`));
  }
});

after(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

const resident = (name: string, version: string) =>
  held.find((model) => model.name === name && model.version === version);

test('with the key store away nothing is promoted, and nothing goes back that is not held', async () => {
  isAway = true;
  await assert.rejects(registry.promote('flow', '1.0.0', 'champion', ADA));
  await assert.rejects(registry.rollback('flow', 'champion', ADA));
  await assert.rejects(registry.rollback('flow', 'champion', ADA, () => held[1]));
  await assert.rejects(registry.rollback('flow', 'champion', ADA, () => ({ ...held[0] }) as VerifiedModel));
  assert.equal((await registry.resolve('flow')).version, '1.1.0');
});

test('with the key store away a version that was verified and is still held can be gone back to', async () => {
  isAway = true;
  const change = await registry.rollback('flow', 'champion', ADA, resident);
  assert.deepEqual([change.version, change.previous, change.action], ['1.0.0', '1.1.0', 'rollback']);
  isAway = false;
  assert.equal((await registry.verify('flow')).version, '1.0.0');
});

test('with the key store away a version is not gone back to whose signer was revoked for its time', async () => {
  isAway = false;
  const other = mkdtempSync(join(tmpdir(), 'resident-revoked-'));
  const { keys, log, blobs, db, close } = await openHouse(other);
  const revoked = await openRegistry({ keys: blind(keys), log, blobs, db, clock: new ManualClock() });
  try {
    const models: VerifiedModel[] = [];
    for (const seed of [1, 2]) {
      const { version } = await revoked.publish(makeCandidate({ seed }), ADA);
      await revoked.promote('flow', version, 'champion', ADA);
      models.push(await revoked.verify(`flow@${version}`));
    }
    const { id } = await keys.active('model-signing');
    await revoked.revokeKey(id, ADA, { from: '1970-01-01T00:00:00.000Z' });
    isAway = true;
    await assert.rejects(
      revoked.rollback('flow', 'champion', ADA, () => models[0]),
      { code: 'registry.signer-revoked' },
    );
    isAway = false;
    await assert.rejects(revoked.verify('flow@1.0.0'), { code: 'registry.signer-revoked' });
  } finally {
    isAway = false;
    await close();
    rmSync(other, { recursive: true, force: true });
  }
});

test('with the key store here, tampering is not forgiven because a copy is held', async (t) => {
  isAway = false;
  await registry.promote('flow', '1.1.0', 'champion', ADA);
  const get = house.blobs.get.bind(house.blobs);
  t.mock.method(house.blobs, 'get', async (name: string) => {
    const bytes = Uint8Array.from(await get(name));
    if (name.includes('1.0.0/model.agm')) bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    return bytes;
  });
  await assert.rejects(registry.rollback('flow', 'champion', ADA, resident), {
    code: 'registry.weights-tampered',
  });
});
