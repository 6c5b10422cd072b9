import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { verifyAuditLog } from '../audit/index.ts';
import { armFaultPoints, ManualClock } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import { decodeModel } from '../models/index.ts';
import { VerifiedModel } from './verify.ts';

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };

let folder: string;
let house: House;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'registry-'));
  house = await openHouse(folder);
});

afterEach(async () => {
  armFaultPoints(undefined);
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

async function reopen(): Promise<void> {
  await house.close();
  house = await openHouse(folder);
}

/** What the log says, as `action subject result`, outcomes only. */
async function outcomes(): Promise<string[]> {
  const found: string[] = [];
  for await (const { entry } of house.log.entries()) {
    if (entry.kind === 'outcome') {
      found.push(`${entry.action} ${entry.subject} ${entry.result}${entry.reason ? ` ${entry.reason}` : ''}`);
    }
  }
  return found;
}

describe('publish', () => {
  test('stores a version that verifies, scores and survives a restart', async () => {
    const candidate = makeCandidate();
    const published = await house.registry.publish(candidate, ADA);
    assert.equal(published.version, '1.0.0');
    assert.equal(published.digest, sha256(candidate.modelBytes));
    await reopen();
    const verified = await house.registry.verify('flow@1.0.0');
    assert.ok(VerifiedModel.isVerified(verified));
    assert.equal(verified.digest, published.digest);
    assert.equal(verified.manifest.author, 'ada');
    assert.deepEqual(verified.manifest.configuration, { rounds: 3 });
    const out = () => ({ probability: new Float32Array(1), kind: new Int16Array(1) });
    const [stored, original] = [out(), out()];
    verified.model.score(Float32Array.of(1, 2, 3), 1, stored);
    decodeModel(candidate.modelBytes).score(Float32Array.of(1, 2, 3), 1, original);
    assert.deepEqual(stored, original);
  });

  test('counts minor versions up, takes a given one, and never replaces one', async () => {
    const { registry } = house;
    assert.equal((await registry.publish(makeCandidate(), ADA)).version, '1.0.0');
    assert.equal((await registry.publish(makeCandidate({ seed: 2 }), ADA)).version, '1.1.0');
    assert.equal(
      (await registry.publish(makeCandidate({ seed: 3 }), ADA, { version: '2.9.4' })).version,
      '2.9.4',
    );
    assert.equal((await registry.publish(makeCandidate({ seed: 4 }), ADA)).version, '2.10.0');
    assert.equal((await registry.publish(makeCandidate({ name: 'other' }), ADA)).version, '1.0.0');
    await assert.rejects(registry.publish(makeCandidate({ seed: 5 }), ADA, { version: '1.1.0' }), {
      code: 'registry.version-exists',
    });
    assert.deepEqual(
      (await registry.list('flow')).map(({ version, author, isInLog }) => [version, author, isInLog]),
      ['1.0.0', '1.1.0', '2.9.4', '2.10.0'].map((version) => [version, 'ada', true]),
    );
  });

  test('concurrent publications get versions of their own', async () => {
    const published = await Promise.all(
      [1, 2, 3].map((seed) => house.registry.publish(makeCandidate({ seed }), ADA)),
    );
    assert.deepEqual(
      published.map((each) => each.version),
      ['1.0.0', '1.1.0', '1.2.0'],
    );
  });

  test('keeps the weights out of every stored file', async () => {
    const { modelBytes } = makeCandidate();
    await house.registry.publish(makeCandidate(), ADA);
    const part = Buffer.from(modelBytes).subarray(64, 96);
    for (const name of await house.blobs.list('')) {
      assert.ok(!Buffer.from(await house.blobs.get(name)).includes(part), name);
    }
  });

  const good = makeCandidate();
  const CONTRADICTIONS: Readonly<Record<string, Partial<typeof good>>> = {
    'weights that are no model': { modelBytes: Buffer.from('weights') },
    'weights other than the gated': { modelBytes: makeCandidate({ seed: 9 }).modelBytes },
    'another schema': { schemaBytes: Buffer.from('{"columns":[]}') },
    'a schema that is no JSON': { schemaBytes: Buffer.from('x') },
    'other source kinds': { provenance: { ...good.provenance, sourceKinds: ['zeek'] } },
    'no source kinds': { provenance: { ...good.provenance, sourceKinds: [] } },
    'a seed out of range': { provenance: { ...good.provenance, seed: -1 } },
    'a data digest of another form': { provenance: { ...good.provenance, dataDigest: 'sha256:1' } },
    'a report that passes beside a failed gate': {
      gateReport: { ...makeCandidate({ passed: false }).gateReport, passed: true },
    },
    'a gate that passes below its threshold': {
      gateReport: {
        ...good.gateReport,
        gates: [{ name: 'fpr', passed: true, value: 0.5, threshold: 0.1, comparison: '<=' }],
      },
    },
    'a report without gates': { gateReport: { ...good.gateReport, gates: [] } },
  };
  for (const [title, change] of Object.entries(CONTRADICTIONS)) {
    test(`refuses a candidate with ${title}, and writes nothing`, async () => {
      await assert.rejects(house.registry.publish({ ...good, ...change }, ADA), {
        code: 'registry.candidate-invalid',
        category: 'validation',
      });
      assert.deepEqual(await house.blobs.list(''), []);
      assert.deepEqual(await outcomes(), []);
    });
  }

  for (const name of ['Flow', '../flow', 'flow@1', '', 'flöw', '-a', 'a'.repeat(64)]) {
    test(`refuses the model name ${JSON.stringify(name.slice(0, 20))}`, async () => {
      await assert.rejects(house.registry.publish(makeCandidate({ name }), ADA), {
        code: 'registry.name-invalid',
      });
    });
  }

  test('refuses versions that are none', async () => {
    for (const version of ['1', '1.0', '01.0.0', '1.0.0-rc', '../1.0.0', '1.0.0\n']) {
      await assert.rejects(house.registry.publish(makeCandidate(), ADA, { version }), {
        code: 'registry.name-invalid',
      });
    }
  });

  for (const at of ['registry.publish.wrapped', 'registry.publish.written', 'registry.publish.recorded']) {
    test(`a failure at ${at} leaves nothing behind and says failed`, async () => {
      armFaultPoints((name) => {
        if (name === at) throw new TypeError('injected');
      });
      await assert.rejects(house.registry.publish(makeCandidate(), ADA), TypeError);
      armFaultPoints(undefined);
      assert.deepEqual(await outcomes(), ['model.publish flow@1.0.0 failed TypeError']);
      assert.deepEqual(await house.blobs.list(''), []);
      assert.deepEqual(await house.db.wraps.list(), []);
      assert.deepEqual(await house.registry.list(), []);
      await house.registry.publish(makeCandidate(), ADA);
      await reopen();
      assert.equal((await house.registry.verify('flow@1.0.0')).version, '1.0.0');
    });
  }
});

describe('promote, rollback and history', () => {
  beforeEach(async () => {
    for (const seed of [1, 2, 3]) await house.registry.publish(makeCandidate({ seed }), ADA);
  });

  test('an alias points where it was promoted, with one approval recorded', async () => {
    const { registry } = house;
    const change = await registry.promote('flow', '1.0.0', 'champion', BOB);
    assert.equal(change.principal, 'bob');
    assert.deepEqual(change.approvals, ['bob']);
    assert.equal(change.approvalsRequired, 1);
    assert.equal(change.previous, undefined);
    await registry.promote('flow', '1.1.0', 'shadow', BOB);
    for (const reference of ['flow', 'flow@champion', 'flow@1.0.0']) {
      assert.equal((await registry.resolve(reference)).version, '1.0.0', reference);
    }
    assert.equal((await registry.resolve('flow@shadow')).version, '1.1.0');
    assert.deepEqual(
      (await registry.list()).map((each) => each.aliases),
      [['champion'], ['shadow'], []],
    );
    const details = await registry.show('flow');
    assert.equal(details.manifest.version, '1.0.0');
    assert.equal(details.gates.passed, true);
    assert.equal(details.history.length, 1);
  });

  test('a promotion is covered by a signed checkpoint at once', async () => {
    await house.registry.promote('flow', '1.0.0', 'champion', BOB);
    const { publicKeyPem = '' } = await house.keys.active('log-signing');
    const verified = await verifyAuditLog({
      folder: join(folder, 'state', 'audit'),
      logPublicKeyPem: publicKeyPem,
    });
    assert.equal(verified.size, house.log.size);
    assert.equal(verified.uncovered, 0);
  });

  test('rollback goes back through the approved versions and stops at the first', async () => {
    const { registry } = house;
    for (const version of ['1.0.0', '1.1.0', '1.1.0', '1.2.0']) {
      await registry.promote('flow', version, 'champion', ADA);
    }
    assert.equal((await registry.rollback('flow', 'champion', BOB)).version, '1.1.0');
    await reopen();
    assert.equal((await house.registry.rollback('flow', 'champion', BOB)).version, '1.0.0');
    await assert.rejects(house.registry.rollback('flow', 'champion', BOB), { code: 'registry.no-previous' });
    assert.equal((await house.registry.promote('flow', '1.2.0', 'champion', ADA)).previous, '1.0.0');
    assert.equal((await house.registry.rollback('flow', 'champion', BOB)).version, '1.0.0');
    const history = await house.registry.history('flow');
    assert.deepEqual(
      history.map(({ action, version, principal }) => `${action} ${version} ${principal}`),
      [
        'promote 1.0.0 ada',
        'promote 1.1.0 ada',
        'promote 1.1.0 ada',
        'promote 1.2.0 ada',
        'rollback 1.1.0 bob',
        'rollback 1.0.0 bob',
        'promote 1.2.0 ada',
        'rollback 1.0.0 bob',
      ],
    );
    for (const { intent, time, alias } of history) {
      const entry = await house.log.entry(intent);
      assert.equal(entry.time, time);
      assert.equal(entry.detail.alias, alias);
    }
  });

  test('refuses failed gates, unknown versions and unknown aliases', async () => {
    const { registry } = house;
    await registry.publish(makeCandidate({ seed: 4, passed: false }), ADA);
    for (const alias of ['champion', 'challenger', 'shadow']) {
      await assert.rejects(registry.promote('flow', '1.3.0', alias, ADA), { code: 'registry.gate-failed' });
    }
    assert.ok((await outcomes()).includes('model.promote flow@1.3.0 failed registry.gate-failed'));
    await assert.rejects(registry.promote('flow', '9.0.0', 'champion', ADA), {
      code: 'registry.version-unknown',
    });
    await assert.rejects(registry.promote('flow', '1.0.0', 'Champion', ADA), {
      code: 'registry.name-invalid',
    });
    await assert.rejects(registry.rollback('flow', 'champion', ADA), { code: 'registry.alias-unknown' });
    await assert.rejects(registry.resolve('flow'), { code: 'registry.alias-unknown' });
    await assert.rejects(registry.resolve('flow@9.0.0'), { code: 'registry.version-unknown' });
    for (const reference of ['', '@', 'flow@', 'flow@1.0.0@x', '../x', 'flow@1.0']) {
      await assert.rejects(registry.resolve(reference), { code: 'registry.name-invalid' }, reference);
    }
    assert.deepEqual(await registry.history('flow'), []);
  });

  test('a model signed by a revoked key cannot be promoted or loaded, one by a retired key can', async () => {
    const signer = await house.keys.active('model-signing');
    await house.registry.promote('flow', '1.0.0', 'champion', ADA);
    await house.keys.generate('model-signing');
    assert.equal((await house.registry.verify('flow')).version, '1.0.0');
    await house.keys.revoke(signer.id);
    const expected = { code: 'registry.signer-revoked', category: 'security' };
    await assert.rejects(house.registry.verify('flow'), expected);
    await assert.rejects(house.registry.promote('flow', '1.1.0', 'champion', ADA), expected);
    assert.equal((await house.registry.resolve('flow')).version, '1.0.0');
  });
});

describe('verified model', () => {
  test('cannot be made, copied, imitated, inherited or changed outside of verification', async () => {
    await house.registry.publish(makeCandidate(), ADA);
    const verified = await house.registry.verify('flow@1.0.0');
    const expected = { code: 'registry.unverified-construction' };
    const parts = {
      manifest: verified.manifest,
      gates: verified.gates,
      schemaBytes: verified.schemaBytes,
      model: verified.model,
    };
    assert.throws(() => new VerifiedModel(Symbol('verified'), parts), expected);
    class Heir extends VerifiedModel {}
    assert.throws(() => new Heir(Symbol('verified'), parts), expected);
    const imitations = [
      { ...verified },
      Object.create(VerifiedModel.prototype),
      Object.setPrototypeOf({ ...verified }, VerifiedModel.prototype),
      new Proxy(verified, {}),
      null,
      undefined,
      'verified',
    ];
    for (const imitation of imitations) assert.equal(VerifiedModel.isVerified(imitation), false);
    assert.throws(() => Object.assign(verified, { model: undefined }), TypeError);
    assert.throws(() => Object.assign(verified.manifest, { version: '9.9.9' }), TypeError);
  });
});

describe('export', () => {
  test('an export verifies with the public key alone and never overwrites', async () => {
    await house.registry.publish(makeCandidate(), ADA);
    const target = join(folder, 'out', 'flow');
    await house.registry.exportTo('flow@1.0.0', target);
    assert.deepEqual(readdirSync(target).sort(), [
      'gates.json',
      'manifest.json',
      'model.agm',
      'model.sig',
      'schema.json',
    ]);
    const { publicKeyPem = '' } = await house.keys.active('model-signing');
    const verified = await house.registry.verifyExport(target, [publicKeyPem]);
    assert.ok(VerifiedModel.isVerified(verified));
    assert.equal(verified.digest, sha256(makeCandidate().modelBytes));
    await assert.rejects(house.registry.verifyExport(target, []), { code: 'registry.signer-untrusted' });
    await assert.rejects(house.registry.exportTo('flow@1.0.0', target, ADA), {
      code: 'registry.export-exists',
    });
    await assert.rejects(house.registry.exportTo('flow@1.0.0', folder, ADA), {
      code: 'registry.export-exists',
    });
    assert.deepEqual(await outcomes(), [
      'model.publish flow@1.0.0 done',
      'model.export flow@1.0.0 done',
      'model.export flow@1.0.0 failed registry.export-exists',
      'model.export flow@1.0.0 failed registry.export-exists',
    ]);
  });

  test('times come from the clock that was handed in', async () => {
    await house.close();
    house = await openHouse(folder, new ManualClock(Date.UTC(2027, 4, 3)));
    await house.registry.publish(makeCandidate(), ADA);
    assert.equal((await house.registry.show('flow@1.0.0')).createdAt, '2027-05-03T00:00:00.000Z');
  });
});
