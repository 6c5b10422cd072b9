import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyMask, deriveSecret, makeRoundKey, pairSecret, privateBytes, restoreRoundKey } from './masks.ts';

const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const url = (text: string) => Buffer.from(text, 'hex').toString('base64url');

test('a pair derives its secret from X25519 (RFC 7748, section 6.1)', () => {
  const alicePublic = url('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
  const bobPublic = url('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
  const shared = hex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742');
  const alice = restoreRoundKey(
    hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'),
    alicePublic,
  );
  const bob = restoreRoundKey(
    hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'),
    bobPublic,
  );
  assert.ok(alice && bob);
  assert.deepEqual(pairSecret(alice, bobPublic, 'round'), deriveSecret(shared, 'round'));
  assert.deepEqual(pairSecret(bob, alicePublic, 'round'), deriveSecret(shared, 'round'));
  assert.notDeepEqual(pairSecret(bob, alicePublic, 'another'), deriveSecret(shared, 'round'));
});

test('keys that are none, or of small order, give no secret', () => {
  const own = makeRoundKey();
  assert.equal(pairSecret(own, url('00'.repeat(32)), 'context'), undefined);
  assert.equal(pairSecret(own, 'none', 'context'), undefined);
});

test('a key comes back from its private bytes', () => {
  const key = makeRoundKey();
  const restored = restoreRoundKey(privateBytes(key), key.publicKey);
  assert.equal(restored?.publicKey, key.publicKey);
  assert.equal(restoreRoundKey(privateBytes(key), makeRoundKey().publicKey), undefined);
  assert.equal(restoreRoundKey(new Uint8Array(5), key.publicKey), undefined);
});

test('secrets are derived by HKDF-SHA256 (RFC 5869, test case 3)', () => {
  assert.equal(
    Buffer.from(deriveSecret(new Uint8Array(22).fill(0x0b), '')).toString('hex'),
    '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d',
  );
});

test('a mask is the AES-256-CTR key stream of its seed, and goes as it came', () => {
  // AES-256 of the zero block under the zero key, as in test case 13 of the GCM specification.
  const vector = new Int32Array(700_001);
  applyMask(vector, new Uint8Array(32), 1);
  const first = Buffer.from(vector.buffer, 0, 16).toString('hex');
  assert.equal(first, 'dc95c078a2408989ad48a21492842087');
  applyMask(vector, new Uint8Array(32), -1);
  assert.ok(vector.every((value) => value === 0));
});
