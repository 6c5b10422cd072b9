import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { isDigest, sha256, sha256Bytes, sha256Hex } from './digest.ts';
import { CRYPTO_ERRORS } from './errors.ts';
import { dssePreAuthEncoding, verifySignature } from './signatures.ts';

const message = Buffer.from('a message');

test('verifies the second Ed25519 vector of RFC 8032 section 7.1', () => {
  const x = Buffer.from('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c', 'hex');
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') },
    format: 'jwk',
  });
  const pem = key.export({ format: 'pem', type: 'spki' }).toString();
  const signature = Buffer.from(
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    'hex',
  );
  assert.ok(verifySignature(pem, 'ed25519', Buffer.from([0x72]), signature));
  assert.ok(!verifySignature(pem, 'ed25519', Buffer.from([0x73]), signature));
  assert.ok(!verifySignature(pem, 'ecdsa-p256', Buffer.from([0x72]), signature));
});

test('is false, and never throws, for what is changed, malformed, or of another kind of key', () => {
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const pemOf = (key: typeof p256.publicKey) => key.export({ format: 'pem', type: 'spki' }).toString();
  const pem = pemOf(p256.publicKey);
  const signature = sign('sha256', message, p256.privateKey);
  assert.ok(verifySignature(pem, 'ecdsa-p256', message, signature));
  for (let i = 0; i < signature.length; i++) {
    const bad = Buffer.from(signature);
    bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
    assert.ok(!verifySignature(pem, 'ecdsa-p256', message, bad), `byte ${i}`);
    assert.ok(!verifySignature(pem, 'ecdsa-p256', message, signature.subarray(0, i)), `cut at ${i}`);
  }
  assert.ok(!verifySignature(pem, 'ed25519', message, signature));
  assert.ok(!verifySignature(pem, 'aes-256', message, signature));
  assert.ok(!verifySignature('no key', 'ecdsa-p256', message, signature));
  const other = sign('sha256', message, p384.privateKey);
  assert.ok(!verifySignature(pemOf(p384.publicKey), 'ecdsa-p256', message, other));
});

test('writes the pre-authentication encoding of the DSSE protocol example', () => {
  const encoded = dssePreAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world'));
  assert.equal(Buffer.from(encoded).toString(), 'DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  const wide = Buffer.from(dssePreAuthEncoding('t', Buffer.from('€'))).toString();
  assert.equal(wide, 'DSSEv1 1 t 3 €', 'lengths count bytes');
});

test('names content by the digest of FIPS 180', () => {
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  assert.equal(sha256Hex('abc'), abc);
  assert.equal(sha256(Buffer.from('abc')), `sha256:${abc}`);
  assert.equal(Buffer.from(sha256Bytes('abc')).toString('hex'), abc);
  assert.ok(isDigest(`sha256:${abc}`));
  for (const bad of [abc, `sha256:${abc.toUpperCase()}`, `sha256:${abc}0`, 'sha256:'])
    assert.ok(!isDigest(bad));
});

test('every code begins with the folder and says something', () => {
  for (const [code, entry] of Object.entries(CRYPTO_ERRORS)) {
    assert.match(code, /^crypto\.[a-z0-9-]+$/);
    assert.ok(entry.says.length > 20);
  }
});
