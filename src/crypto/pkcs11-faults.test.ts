import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, type TestContext, test } from 'node:test';
import { toolPath } from '../../test/support/requires.ts';
import { makeSoftHsm, requireSoftHsm, type SoftHsm } from '../../test/support/softhsm.ts';
import { armFaultPoints, ManualClock } from '../base/index.ts';
import { unwrapKey, wrapKey } from './key-wrap.ts';
import { createPkcs11KeyStore, openPkcs11KeyStore, type Pkcs11KeyStore } from './pkcs11-key-store.ts';
import { loadModule, type Pkcs11Module } from './pkcs11-module.ts';
import { SecretBuffer } from './secret-buffer.ts';
import { verifySignature } from './signatures.ts';

const message = Buffer.from('a message');
let hsm: SoftHsm;
let module: Pkcs11Module;
let stores = 0;

interface Placed {
  readonly store: Pkcs11KeyStore;
  readonly options: Parameters<typeof openPkcs11KeyStore>[0];
  readonly clock: ManualClock;
}

async function place(t: TestContext): Promise<Placed | undefined> {
  if (!requireSoftHsm(t)) return undefined;
  const clock = new ManualClock();
  const options = hsm.options(`fault-${++stores}`, clock);
  const store = await createPkcs11KeyStore(options);
  t.after(() => store.close());
  return { store, options, clock };
}

async function signs(store: Pkcs11KeyStore): Promise<void> {
  const { id, algorithm, publicKeyPem = '' } = await store.active('model-signing');
  assert.ok(verifySignature(publicKeyPem, algorithm, message, await store.sign(id, message)));
}

/** Every slot's sessions are closed by another user of the module, and with them the login. */
function killSessions(): void {
  for (const slot of module.api.C_GetSlotList(true)) module.api.C_CloseAllSessions(slot);
}

suite('a token', () => {
  before(async () => {
    if (toolPath('softhsm2-util') === undefined) return;
    hsm = await makeSoftHsm();
    module = await loadModule(hsm.modulePath);
  });

  test('that is pulled out is named, keeps telling its public keys, and goes on when it is back', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    const { store } = at;
    const { id: signer } = await store.active('model-signing');
    const { id: wrapping } = await store.active('wrapping');
    const wrapped = await store.wrap(wrapping, SecretBuffer.from(Buffer.alloc(32, 7)));
    const keys = await store.list();
    for (let round = 0; round < 3; round++) {
      hsm.pullOut();
      await assert.rejects(store.sign(signer, message), { code: 'crypto.hsm-away', retry: true });
      await assert.rejects(store.unwrap(wrapping, wrapped), { code: 'crypto.hsm-away' });
      await assert.rejects(store.wrap(wrapping, SecretBuffer.random(32)), { code: 'crypto.hsm-away' });
      await assert.rejects(store.generate('wrapping'), { code: 'crypto.hsm-away' });
      await assert.rejects(store.revoke(signer), { code: 'crypto.hsm-away' });
      await assert.rejects(openPkcs11KeyStore(at.options), { code: 'crypto.hsm-away' });
      assert.deepEqual(await store.list(), keys);
      hsm.plugIn();
      await signs(store);
      assert.equal((await store.unwrap(wrapping, wrapped)).length, 32);
    }
    assert.deepEqual(await store.list(), keys, 'no partial state');
    await store.generate('wrapping');
    assert.equal((await store.list()).length, 5);
  });

  test('whose sessions are closed under it is logged into again, its keys found again', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    for (let round = 0; round < 3; round++) {
      killSessions();
      await Promise.all([signs(at.store), signs(at.store), signs(at.store)]);
    }
    killSessions();
    await at.store.generate('wrapping');
    killSessions();
    const { id } = await at.store.active('wrapping');
    const wrapped = await at.store.wrap(id, SecretBuffer.random(32));
    killSessions();
    assert.equal((await at.store.unwrap(id, wrapped)).length, 32);
  });

  test('is not asked with wrong PINs for long: two are free, then 30 s, doubling to 15 min, across restarts', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    const { store, clock, options } = at;
    const { id } = await store.active('model-signing');
    await hsm.writePin('not-the-pin');
    t.after(() => hsm.writePin());
    killSessions();
    const waits: number[] = [];
    for (let round = 0; round < 9; round++) {
      await assert.rejects(store.sign(id, message), { code: 'crypto.pin-wrong' });
      if (round < 1) continue;
      if (round === 1) {
        await assert.rejects(store.sign(id, message), { code: 'crypto.pin-wrong' });
      }
      // Another process, so to speak, finds the same count.
      let waited = 0;
      await assert.rejects(openPkcs11KeyStore(options), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'crypto.pin-locked-out');
        waited = Number(/another (\d+) s/.exec(error.message)?.[1]);
        return true;
      });
      waits.push(waited);
      clock.advance(waited * 1000 - 1);
      await assert.rejects(store.sign(id, message), { code: 'crypto.pin-locked-out', retry: true });
      clock.advance(1);
    }
    assert.deepEqual(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    await hsm.writePin();
    await signs(store);
    // The count began anew.
    await hsm.writePin('not-the-pin');
    killSessions();
    await assert.rejects(store.sign(id, message), { code: 'crypto.pin-wrong' });
    await hsm.writePin();
    await signs(store);
  });

  test('whose PIN file is gone or readable by others is not logged into', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    const { id } = await at.store.active('model-signing');
    killSessions();
    await chmod(hsm.pinPath, 0o644);
    await assert.rejects(at.store.sign(id, message), { code: 'crypto.pin-exposed' });
    await rm(hsm.pinPath);
    await assert.rejects(at.store.sign(id, message), { code: 'crypto.pin-missing' });
    await hsm.writePin();
    await signs(at.store);
  });

  test('that lost one key says so, and serves the others', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    const { store } = at;
    const { id } = await store.active('evaluator-signing');
    withSession((session, find, c) => {
      const [key] = find([
        { type: c.CKA_LABEL, value: `fault-${stores} evaluator-signing` },
        { type: c.CKA_CLASS, value: c.CKO_PRIVATE_KEY },
      ]);
      module.api.C_DestroyObject(session, key as Buffer);
    });
    await assert.rejects(store.sign(id, message), { code: 'crypto.key-missing', retry: false });
    await signs(store);
    const fresh = await store.generate('evaluator-signing');
    assert.ok(
      verifySignature(fresh.publicKeyPem ?? '', 'ecdsa-p256', message, await store.sign(fresh.id, message)),
    );
  });

  test('gives no private part away, whoever is logged in', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    await at.store.generate('post-quantum-signing');
    withSession((session, find, c) => {
      const store = `fault-${stores}`;
      const labels = ['model-signing', 'evaluator-signing', 'log-signing', 'wrapping', 'record mac', 'seal'];
      for (const label of labels) {
        const isPair = label.endsWith('signing');
        const [key] = find([
          { type: c.CKA_LABEL, value: `${store} ${label}` },
          { type: c.CKA_CLASS, value: isPair ? c.CKO_PRIVATE_KEY : c.CKO_SECRET_KEY },
        ]);
        const read = () => module.api.C_GetAttributeValue(session, key as Buffer, [{ type: c.CKA_VALUE }]);
        assert.throws(read, /CKR_ATTRIBUTE_SENSITIVE/, label);
        const relax = () =>
          module.api.C_SetAttributeValue(session, key as Buffer, [{ type: c.CKA_EXTRACTABLE, value: true }]);
        assert.throws(relax, /CKR_/, label);
      }
    });
  });

  test('wraps byte for byte as the file store does', async (t) => {
    if ((await place(t)) === undefined) return;
    const kek = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
    // RFC 3394 section 4.6.
    const key = '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f';
    const expected = '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21';
    const ours = wrapKey(createSecretKey(kek), SecretBuffer.from(Buffer.from(key, 'hex')));
    assert.equal(Buffer.from(ours).toString('hex'), expected);
    withSession((session, _, c) => {
      const secret = (type: number, value: Buffer) =>
        module.api.C_CreateObject(session, [
          { type: c.CKA_CLASS, value: c.CKO_SECRET_KEY },
          { type: c.CKA_KEY_TYPE, value: type },
          { type: c.CKA_VALUE, value },
          { type: c.CKA_EXTRACTABLE, value: true },
          { type: c.CKA_WRAP, value: true },
        ]);
      const wrapped = module.api.C_WrapKey(
        session,
        { mechanism: c.CKM_AES_KEY_WRAP },
        secret(c.CKK_AES, kek),
        secret(c.CKK_GENERIC_SECRET, Buffer.from(key, 'hex')),
        Buffer.alloc(40),
      );
      assert.equal(wrapped.toString('hex'), expected);
      assert.equal(unwrapKey(createSecretKey(kek), wrapped).length, 32);
    });
  });

  test('keeps the record of key states so that an edit is refused', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    const label = `fault-${stores} record`;
    await at.store.revoke((await at.store.active('model-signing')).id);
    withSession((session, find, c) => {
      const [record] = find([{ type: c.CKA_LABEL, value: label }]);
      const [value] = module.api.C_GetAttributeValue(session, record as Buffer, [{ type: c.CKA_VALUE }]);
      const text = Buffer.from(value?.value as Buffer).toString('latin1');
      assert.match(text, /"state":"revoked"/);
      module.api.C_DestroyObject(session, record as Buffer);
      module.api.C_CreateObject(session, [
        { type: c.CKA_CLASS, value: c.CKO_DATA },
        { type: c.CKA_TOKEN, value: true },
        { type: c.CKA_PRIVATE, value: true },
        { type: c.CKA_LABEL, value: label },
        {
          type: c.CKA_VALUE,
          value: Buffer.from(text.replace('"state":"revoked"', '"state":"active"'), 'latin1'),
        },
      ]);
    });
    await assert.rejects(openPkcs11KeyStore(at.options), { code: 'crypto.integrity' });
    await assert.rejects(at.store.generate('wrapping'), { code: 'crypto.integrity' });
  });

  test('a change that fails before or after its record is written leaves the old or the new keys, whole', async (t) => {
    const at = await place(t);
    if (at === undefined) return;
    for (const [point, grown] of [
      ['crypto.token.before-write', 0],
      ['crypto.token.after-write', 1],
    ] as const) {
      const before = await at.store.list();
      armFaultPoints((name) => {
        if (name === point) throw new RangeError('cut');
      });
      await assert.rejects(at.store.generate('model-signing'), RangeError);
      armFaultPoints(undefined);
      assert.equal((await at.store.list()).length, before.length + grown);
      await signs(at.store);
      const again = await openPkcs11KeyStore(at.options);
      assert.deepEqual(await again.list(), await at.store.list());
      await signs(again);
      await again.close();
    }
  });
});

suite('opening keys in a token', () => {
  test('names the missing package, module, token and store apart', async (t) => {
    if (!requireSoftHsm(t)) return;
    const options = hsm.options('nobody');
    const cases: readonly [string, Partial<typeof options>][] = [
      ['crypto.pkcs11-missing', { loadLibrary: () => Promise.reject(new TypeError('not installed')) }],
      ['crypto.module-missing', { uri: 'pkcs11:token=guardian?module-path=/nowhere/lib.so' }],
      [
        'crypto.module-missing',
        { uri: `pkcs11:token=guardian?module-path=${join(hsm.folder, 'softhsm2.conf')}` },
      ],
      ['crypto.hsm-away', { uri: hsm.uri().replace('token=guardian', 'token=other') }],
      ['crypto.hsm-away', { uri: hsm.uri().replace('token=guardian', 'serial=0000000000000000') }],
      ['crypto.store-missing', {}],
    ];
    for (const [code, fields] of cases) {
      await assert.rejects(openPkcs11KeyStore({ ...options, ...fields }), { code }, code);
    }
  });
});

test.after(() => hsm?.remove());

type Find = (template: { type: number; value: number | string }[]) => Buffer[];

/** Works on the token beside the store, logged in as the store is. */
function withSession(work: (session: Buffer, find: Find, c: Pkcs11Module['library']) => void): void {
  const { api, library: c } = module;
  const slot = api
    .C_GetSlotList(true)
    .find((each) => (api.C_GetTokenInfo(each).flags & c.CKF_TOKEN_INITIALIZED) !== 0) as Buffer;
  const session = api.C_OpenSession(slot, c.CKF_SERIAL_SESSION | c.CKF_RW_SESSION);
  const find: Find = (template) => {
    api.C_FindObjectsInit(session, template);
    try {
      return api.C_FindObjects(session, 10);
    } finally {
      api.C_FindObjectsFinal(session);
    }
  };
  try {
    work(session, find, c);
  } finally {
    api.C_CloseSession(session);
  }
}
