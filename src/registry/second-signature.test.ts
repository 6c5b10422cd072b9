import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { stateLayout } from '../storage/index.ts';
import type { RegistryPolicy } from './policy.ts';
import { SECOND_SIGNATURE_FILE } from './second-signature.ts';
import { blobNames } from './version-files.ts';

const ADA = { principal: 'ada' };
const NAMES = blobNames('flow', '1.0.0');

interface Place {
  readonly folder: string;
  open(postQuantum: RegistryPolicy['postQuantum']): Promise<House>;
  blobPath(name: string): string;
}

async function place(t: TestContext): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'second-'));
  let house: House | undefined;
  t.after(async () => {
    await house?.close();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    folder,
    open: async (postQuantum) => {
      await house?.close();
      house = await openHouse(folder, new ManualClock(), { policy: { postQuantum } });
      return house;
    },
    blobPath: (name) => join(stateLayout(join(folder, 'state')).blobs, name),
  };
}

test('is made and checked beside the first, by a key made when it is first wanted', async (t) => {
  const at = await place(t);
  const house = await at.open('sign');
  assert.equal((await house.keys.list()).length, 4);
  await house.registry.publish(makeCandidate(), ADA);
  assert.equal((await house.keys.active('post-quantum-signing')).algorithm, 'ml-dsa-65');
  await house.registry.verify('flow@1.0.0');
  const good = await house.blobs.get(NAMES.secondSignature);
  for (let byte = 0; byte < good.length; byte += 41) {
    const bad = Uint8Array.from(good);
    bad[byte] = (bad[byte] ?? 0) ^ (1 << (byte % 8));
    await writeFile(at.blobPath(NAMES.secondSignature), bad);
    await assert.rejects(house.registry.verify('flow@1.0.0'), { category: 'security' }, `byte ${byte}`);
  }
  await writeFile(at.blobPath(NAMES.secondSignature), good);
  await house.registry.verify('flow@1.0.0');
});

test('cannot be taken away from a version that was published with it, whatever the policy is now', async (t) => {
  const at = await place(t);
  await (await at.open('sign')).registry.publish(makeCandidate(), ADA);
  await rm(at.blobPath(NAMES.secondSignature));
  for (const policy of ['off', 'sign', 'require'] as const) {
    const { registry } = await at.open(policy);
    await assert.rejects(registry.verify('flow@1.0.0'), { code: 'registry.second-signature-missing' });
  }
});

test('is demanded of every model by policy, and of none without', async (t) => {
  const at = await place(t);
  const plain = await at.open('off');
  await plain.registry.publish(makeCandidate(), ADA);
  assert.ok(!(await plain.blobs.has(NAMES.secondSignature)));
  await plain.registry.verify('flow@1.0.0');
  const strict = await at.open('require');
  await assert.rejects(strict.registry.promote('flow', '1.0.0', 'champion', ADA), {
    code: 'registry.second-signature-missing',
  });
  await strict.registry.publish(makeCandidate({ seed: 2 }), ADA);
  await strict.registry.promote('flow', '1.1.0', 'champion', ADA);
  await (await at.open('sign')).registry.verify('flow@1.0.0');
});

test('of a revoked key does not count for what comes later, and that of another statement never', async (t) => {
  const at = await place(t);
  const { registry, keys, blobs } = await at.open('sign');
  await registry.publish(makeCandidate(), ADA);
  const old = await keys.active('post-quantum-signing');
  await registry.revokeKey(old.id, ADA);
  await registry.verify('flow@1.0.0');
  await registry.publish(makeCandidate({ seed: 2 }), ADA);
  await registry.verify('flow@1.1.0');
  await writeFile(
    at.blobPath(NAMES.secondSignature),
    await blobs.get(blobNames('flow', '1.1.0').secondSignature),
  );
  await assert.rejects(registry.verify('flow@1.0.0'), { code: 'registry.signature-invalid' });
});

test('goes along with an export, where a trusted ML-DSA-65 key demands it', async (t) => {
  const at = await place(t);
  const { registry, keys } = await at.open('sign');
  await registry.publish(makeCandidate(), ADA);
  const out = join(at.folder, 'export');
  await registry.exportTo('flow@1.0.0', out);
  assert.ok((await readdir(out)).includes(SECOND_SIGNATURE_FILE));
  const first = (await keys.active('model-signing')).publicKeyPem ?? '';
  const second = (await keys.active('post-quantum-signing')).publicKeyPem ?? '';
  assert.equal((await registry.verifyExport(out, [first])).version, '1.0.0');
  assert.equal((await registry.verifyExport(out, [first, second])).version, '1.0.0');
  await assert.rejects(registry.verifyExport(out, [second]), { code: 'registry.signer-untrusted' });
  const stripped = join(at.folder, 'stripped');
  await cp(out, stripped, { recursive: true });
  await rm(join(stripped, SECOND_SIGNATURE_FILE));
  await assert.rejects(registry.verifyExport(stripped, [first, second]), {
    code: 'registry.second-signature-missing',
  });
});
