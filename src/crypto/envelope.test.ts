import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { ManualClock } from '../base/index.ts';
import { open, seal } from './envelope.ts';
import { createFileKeyStore } from './file-key-store.ts';
import { unwrapKey, wrapKey } from './key-wrap.ts';
import { SecretBuffer } from './secret-buffer.ts';
import {
  addRecoveryWrap,
  parseWrapSet,
  unwrapFromRecovery,
  unwrapFromStore,
  wrapForStore,
} from './wrap-set.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const aad = Buffer.from('flow@1.0.0');

test('wraps and unwraps as the vectors of RFC 3394 section 4', () => {
  const kek = createSecretKey(hex('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F'));
  const vectors = [
    ['00112233445566778899AABBCCDDEEFF', '64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7'],
    [
      '00112233445566778899AABBCCDDEEFF0001020304050607',
      'A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1',
    ],
    [
      '00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F',
      '28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21',
    ],
  ] as const;
  for (const [plain, expected] of vectors) {
    const wrapped = wrapKey(kek, SecretBuffer.from(hex(plain)));
    assert.deepEqual(Buffer.from(wrapped), hex(expected));
    const back = unwrapKey(kek, wrapped);
    assert.ok(back.use((bytes) => hex(plain).equals(bytes)));
  }
});

test('refuses a wrapped key with any bit changed, cut, or of another wrapping key', () => {
  const kek = createSecretKey(Buffer.alloc(32, 1));
  const wrapped = wrapKey(kek, SecretBuffer.random(32));
  for (let i = 0; i < wrapped.length; i++) {
    const bad = Buffer.from(wrapped);
    bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
    assert.throws(() => unwrapKey(kek, bad), { code: 'crypto.integrity' });
  }
  for (let n = 0; n < wrapped.length; n++) {
    assert.throws(() => unwrapKey(kek, wrapped.subarray(0, n)), { code: 'crypto.integrity' });
  }
  assert.throws(() => unwrapKey(createSecretKey(Buffer.alloc(32, 2)), wrapped), { code: 'crypto.integrity' });
  assert.throws(() => wrapKey(kek, SecretBuffer.random(12)), { code: 'crypto.wrap-invalid' });
});

test('opens what it sealed, and refuses any flipped bit, cut, other key or other context', () => {
  const plain = Buffer.from('the weights of a model');
  const { blob, dataKey } = seal(plain, aad);
  assert.deepEqual(Buffer.from(open(blob, dataKey, aad)), plain);
  assert.ok(!Buffer.from(blob).includes(plain));
  for (let i = 0; i < blob.length * 8; i++) {
    const bad = Buffer.from(blob);
    bad[i >> 3] = (bad[i >> 3] ?? 0) ^ (1 << (i & 7));
    assert.throws(() => open(bad, dataKey, aad), { code: 'crypto.integrity' }, `bit ${i}`);
  }
  for (let n = 0; n < blob.length; n++) {
    assert.throws(() => open(blob.subarray(0, n), dataKey, aad), { code: 'crypto.integrity' });
  }
  assert.throws(() => open(blob, SecretBuffer.random(32), aad), { code: 'crypto.integrity' });
  assert.throws(() => open(blob, dataKey, Buffer.from('flow@1.0.1')), { code: 'crypto.integrity' });
  dataKey.wipe();
  assert.throws(() => open(blob, dataKey, aad), { code: 'crypto.secret-wiped' });
});

test('seals an empty plaintext, and never twice with the same key or nonce', () => {
  const first = seal(Buffer.alloc(0), aad);
  const second = seal(Buffer.alloc(0), aad);
  assert.equal(open(first.blob, first.dataKey, aad).length, 0);
  assert.notDeepEqual(first.blob, second.blob);
  assert.throws(() => open(first.blob, second.dataKey, aad), { code: 'crypto.integrity' });
});

test('opens a data key by the store or by the offline recovery key, and by nothing else', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wraps-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const secret = { kind: 'file', path: join(folder, 'unlock.key') } as const;
  const clock = new ManualClock();
  const store = await createFileKeyStore({ path: join(folder, 'keys.json'), secret, clock });
  const other = await createFileKeyStore({ path: join(folder, 'other.json'), secret, clock });
  const { blob, dataKey } = seal(Buffer.from('weights'), aad);
  const recovery = { keyId: 'recovery-1', key: SecretBuffer.random(32) };
  const made = addRecoveryWrap(await wrapForStore(store, 'flow@1.0.0', dataKey), dataKey, recovery);
  const set = parseWrapSet(JSON.stringify(made));
  assert.deepEqual(set, made);
  for (const key of [await unwrapFromStore(store, set), unwrapFromRecovery(set, recovery)]) {
    assert.equal(Buffer.from(open(blob, key, aad)).toString(), 'weights');
  }
  await assert.rejects(unwrapFromStore(other, set), { code: 'crypto.key-missing' });
  assert.throws(() => unwrapFromRecovery(set, { ...recovery, keyId: 'recovery-2' }), {
    code: 'crypto.key-missing',
  });
  const wrong = { keyId: 'recovery-1', key: SecretBuffer.random(32) };
  assert.throws(() => unwrapFromRecovery(set, wrong), { code: 'crypto.integrity' });
});

test('refuses a malformed set of wraps', () => {
  const wrap = { keyId: 'a', recipient: 'store', wrapped: 'AAAA' };
  const good = { v: 1, dataKeyId: 'd', wraps: [wrap] };
  assert.deepEqual(parseWrapSet(JSON.stringify(good)), good);
  const bad: unknown[] = [
    null,
    [],
    { ...good, v: 2 },
    { ...good, dataKeyId: 1 },
    { ...good, wraps: {} },
    { ...good, wraps: [null] },
    { ...good, wraps: [{ ...wrap, recipient: 'stranger' }] },
    { ...good, wraps: [{ ...wrap, wrapped: 'A' }] },
    { ...good, wraps: [{ ...wrap, keyId: undefined }] },
  ];
  for (const value of bad) {
    assert.throws(() => parseWrapSet(JSON.stringify(value)), { code: 'crypto.wrap-invalid' }, inspect(value));
  }
  assert.throws(() => parseWrapSet('{'), { code: 'crypto.wrap-invalid' });
});

test('a secret never shows itself, and is gone once wiped', () => {
  const source = Buffer.from('canary-secret');
  const secret = SecretBuffer.from(source);
  assert.ok(
    source.every((byte) => byte === 0),
    'the argument is wiped',
  );
  assert.equal(secret.length, 13);
  for (const shown of [String(secret), JSON.stringify({ secret }), inspect({ secret }), `${secret}`]) {
    assert.ok(shown.includes('[secret]'));
    assert.ok(!shown.includes('canary'));
    assert.ok(!shown.includes('63 61 6e'));
  }
  let kept: Uint8Array = new Uint8Array();
  secret.use((bytes) => {
    kept = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  });
  assert.equal(Buffer.from(kept).toString(), 'canary-secret');
  secret.wipe();
  assert.ok(secret.isWiped);
  assert.ok(kept.every((byte) => byte === 0));
  assert.throws(() => secret.use(() => 1), { code: 'crypto.secret-wiped' });
});
