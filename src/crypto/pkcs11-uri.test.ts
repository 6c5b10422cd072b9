import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ecdsaDer } from './key-encodings.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';

test('reads the attributes of RFC 7512 that say where keys are', () => {
  assert.deepEqual(
    parsePkcs11Uri(
      'pkcs11:token=The%20token;serial=DE-AD;manufacturer=Acme%3B%20Inc;model=X;slot-id=42;object=store?module-path=/usr/lib/p11.so&pin-source=file:///etc/pin',
    ),
    {
      token: 'The token',
      serial: 'DE-AD',
      manufacturer: 'Acme; Inc',
      model: 'X',
      object: 'store',
      slotId: 42,
      modulePath: '/usr/lib/p11.so',
      pinPath: '/etc/pin',
    },
  );
  for (const source of ['file:/etc/pin', 'file:///etc/pin', '/etc/pin', 'file:%2Fetc%2Fpin']) {
    assert.equal(parsePkcs11Uri(`pkcs11:token=a?pin-source=${source}`).pinPath, '/etc/pin', source);
    assert.equal(parsePkcs11Uri(`pkcs11:token=a;pin-source=${source}`).pinPath, '/etc/pin', source);
  }
  assert.deepEqual(parsePkcs11Uri('pkcs11:'), {});
});

test('refuses a PIN in the URI, and whatever could mean another token; the URI is never repeated', () => {
  for (const uri of [
    'pkcs11:token=a?pin-value=canary-1234',
    'pkcs11:token=a;pin-value=canary-1234',
    'pkcs11:token=a?PIN-VALUE=canary-1234',
    'http://token=canary-1234',
    'pkcs11:token=a;token=canary-1234',
    'pkcs11:token=a;color=canary-1234',
    'pkcs11:token=a?x-vendor=canary-1234',
    'pkcs11:canary-1234',
    'pkcs11:token=%zz;serial=canary-1234',
    'pkcs11:token=a b;serial=canary-1234',
    'pkcs11:token=a?b?module-path=/canary-1234',
    'pkcs11:token=a?module-path=canary-1234.so',
    'pkcs11:token=a?pin-source=|cat%20/canary-1234',
    'pkcs11:token=a?pin-source=https://canary-1234',
    'pkcs11:slot-id=canary-1234',
  ]) {
    assert.throws(
      () => parsePkcs11Uri(uri),
      (error: Error & { code?: string }) =>
        error.code === 'crypto.uri-invalid' && !error.message.includes('canary'),
      uri,
    );
  }
});

test('turns r and s into the shortest DER integers', () => {
  const raw = Buffer.alloc(64);
  raw[31] = 0x7f;
  raw[32] = 0x80;
  assert.equal(Buffer.from(ecdsaDer(raw)).toString('hex'), `302602017f02210080${'00'.repeat(31)}`);
});
