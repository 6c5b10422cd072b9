import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { armFaultPoints, ManualClock } from '../base/index.ts';
import { sha256, sha256Hex } from '../crypto/index.ts';
import { type ExportFiles, readExport } from './export.ts';
import { MANIFEST, ORIGIN_FILES } from './manifest.ts';
import { verifyBundle } from './oms.ts';

const ADA = { principal: 'ada' };
const EVE = { principal: 'eve' };

let folder: string;
let there: House;
let here: House;
let files: ExportFiles;
let key: string;
const fixture = fixtureEvaluator();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'import-'));
  there = await openHouse(join(folder, 'there'));
  here = await openHouse(join(folder, 'here'), new ManualClock(), { evaluator: fixture.evaluator });
  fixture.data.accuracy = 0.9;
  await there.registry.publish(makeCandidate(), EVE, { version: '3.2.1' });
  await there.registry.exportTo('flow@3.2.1', join(folder, 'export'));
  files = await readExport(join(folder, 'export'));
  key = (await there.keys.active('model-signing')).publicKeyPem ?? '';
});

afterEach(async () => {
  armFaultPoints(undefined);
  await there.close();
  await here.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('an imported version', () => {
  test('is signed anew, verifies here, and says from whom it came', async () => {
    const published = await here.registry.importFiles(files, [key], ADA);
    assert.deepEqual([published.name, published.version, published.gatesPassed], ['flow', '1.0.0', true]);
    const { manifest } = await here.registry.verify('flow@1.0.0');
    assert.equal(manifest.v, 2);
    assert.equal(manifest.author, 'ada');
    assert.deepEqual(manifest.imported, {
      name: 'flow',
      version: '3.2.1',
      author: 'eve',
      createdAt: '2026-01-01T00:00:00.000Z',
      manifestDigest: sha256(files['manifest.json'] as Uint8Array),
      signer: sha256Hex(key),
      gates: 'submitter',
    });
    assert.equal(manifest.seed, 1);
    const entry = await here.log.entry(published.intent);
    assert.equal(entry.action, 'model.import');
    assert.deepEqual(entry.detail.imported, manifest.imported);
  });

  test('keeps the signature it came with, which still verifies over the files it came with', async () => {
    await here.registry.importFiles(files, [key], ADA);
    const kept = (file: string) => here.blobs.get(`models/flow/1.0.0/${file}`);
    const statement = verifyBundle(await kept(ORIGIN_FILES.signature), [{ publicKeyPem: key }]);
    assert.equal(statement.modelName, 'flow@3.2.1');
    assert.equal(statement.digests.get('manifest.json'), sha256Hex(await kept(ORIGIN_FILES.manifest)));
    assert.equal(statement.digests.get('gates.json'), sha256Hex(await kept(ORIGIN_FILES.gates)));
    assert.equal(statement.digests.get('schema.json'), sha256Hex(await kept('schema.json')));
  });

  test('passes the local gates, under the name it is taken in by', async () => {
    await here.registry.registerGateData('guest', { path: '/d', schemaBytes: FIXTURE_SCHEMA }, ADA);
    const published = await here.registry.importFiles(files, [key], ADA, { name: 'guest', version: '0.1.0' });
    assert.deepEqual([published.name, published.version], ['guest', '0.1.0']);
    const { manifest, gates } = await here.registry.verify('guest@0.1.0');
    assert.equal(manifest.imported?.gates, 'evaluator');
    assert.equal(gates.dataDigest, fixture.data.digest);
    fixture.data.accuracy = 0.5;
    const failed = await here.registry.importFiles(files, [key], ADA, { name: 'guest' });
    assert.equal(failed.gatesPassed, false);
    await assert.rejects(here.registry.promote('guest', failed.version, 'champion', ADA), {
      code: 'registry.gate-failed',
    });
  });

  test('is exported again under our signature', async () => {
    await here.registry.importFiles(files, [key], ADA);
    await here.registry.exportTo('flow@1.0.0', join(folder, 'again'));
    const ours = (await here.keys.active('model-signing')).publicKeyPem ?? '';
    const model = await here.registry.verifyExport(join(folder, 'again'), [ours]);
    assert.equal(model.manifest.imported?.version, '3.2.1');
  });

  test('has an importer who is its author: two others approve', async () => {
    await here.registry.importFiles(files, [key], ADA);
    await assert.rejects(here.registry.approve('flow', '1.0.0', ADA), {
      code: 'registry.approver-is-author',
    });
    await here.registry.approve('flow', '1.0.0', EVE);
  });
});

describe('an import is refused', () => {
  const refused = (changed: ExportFiles, code: string, keys: readonly string[] = [key]) =>
    assert.rejects(here.registry.importFiles(changed, keys, ADA), { code });

  test('without a key that is trusted, and the refusal stands in the log', async () => {
    const other = (await here.keys.active('model-signing')).publicKeyPem ?? '';
    await refused(files, 'registry.signer-untrusted', [other]);
    await refused(files, 'registry.signer-untrusted', []);
    await refused(files, 'registry.signer-untrusted', ['no key']);
    const last = await here.log.entry(here.log.size - 1);
    assert.deepEqual(
      [last.action, last.result, last.reason],
      ['model.import', 'failed', 'registry.signer-untrusted'],
    );
    assert.deepEqual(await here.blobs.list(''), []);
  });

  for (const name of ['model.agm', 'manifest.json', 'gates.json', 'schema.json', 'model.sig']) {
    test(`with a changed, missing or renamed ${name}`, async () => {
      const bytes = Uint8Array.from(files[name] as Uint8Array);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      await assert.rejects(here.registry.importFiles({ ...files, [name]: bytes }, [key], ADA), {
        category: 'security',
      });
      const { [name]: gone, ...rest } = files;
      await refused(rest, 'registry.file-tampered');
      await refused({ ...rest, [`../${name}`]: gone as Uint8Array }, 'registry.file-tampered');
      await refused({ ...files, [`${name}.bak`]: gone as Uint8Array }, 'registry.file-tampered');
      assert.deepEqual(await here.blobs.list(''), []);
    });
  }

  test('under a name or version that is none', async () => {
    for (const name of ['../flow', 'Flow', 'flow@1', '', 'flow\0', '..%2fflow', 'ﬂow']) {
      await assert.rejects(here.registry.importFiles(files, [key], ADA, { name }), {
        code: 'registry.name-invalid',
      });
    }
    for (const version of ['..', '1.0', '1.0.0/..', 'sha256-00', '20260101']) {
      await assert.rejects(here.registry.importFiles(files, [key], ADA, { version }), {
        code: 'registry.name-invalid',
      });
    }
  });

  test('where the version is taken', async () => {
    await here.registry.importFiles(files, [key], ADA, { version: '1.0.0' });
    await assert.rejects(here.registry.importFiles(files, [key], ADA, { version: '1.0.0' }), {
      code: 'registry.version-exists',
    });
  });

  for (const at of ['registry.publish.wrapped', 'registry.publish.written', 'registry.publish.recorded']) {
    test(`and leaves nothing behind where it fails at ${at}`, async () => {
      armFaultPoints((name) => {
        if (name === at) throw new TypeError('injected');
      });
      await assert.rejects(here.registry.importFiles(files, [key], ADA), TypeError);
      armFaultPoints(undefined);
      assert.deepEqual(await here.blobs.list(''), []);
      assert.deepEqual(await here.db.wraps.list(), []);
      await here.registry.importFiles(files, [key], ADA);
      await here.registry.verify('flow@1.0.0');
    });
  }
});

test('a manifest of version 1 reads as before, and one of version 1 that says imported does not', async () => {
  const text = Buffer.from(files['manifest.json'] as Uint8Array).toString('utf8');
  const manifest = JSON.parse(text);
  assert.equal(manifest.v, 1);
  assert.ok(MANIFEST.safeParse(manifest).success);
  await here.registry.importFiles(files, [key], ADA);
  const imported = (await here.registry.verify('flow@1.0.0')).manifest;
  assert.ok(MANIFEST.safeParse(imported).success);
  assert.ok(!MANIFEST.safeParse({ ...imported, v: 1 }).success);
  assert.ok(!MANIFEST.safeParse({ ...manifest, v: 2 }).success);
  assert.ok(!MANIFEST.safeParse({ ...imported, more: 1 }).success);
});
