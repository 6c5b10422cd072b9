import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { requireData } from '../../test/support/requires.ts';
import { dssePreAuthEncoding, sha256Hex } from '../crypto/index.ts';
import { type OmsStatement, signStatement, type TrustedSigner, verifyBundle } from './oms.ts';

const STATEMENT: OmsStatement = {
  modelName: 'flow@1.0.0',
  digests: new Map([
    ['model.agm', sha256Hex('weights')],
    ['manifest.json', sha256Hex('manifest')],
  ]),
};
const HASHES = { 'P-256': 'sha256', 'P-384': 'sha384', 'P-521': 'sha512' } as const;

function makeKey(namedCurve: keyof typeof HASHES = 'P-256') {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  return {
    privateKey,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
    sign: async (message: Uint8Array) => sign(HASHES[namedCurve], message, privateKey),
  };
}

const key = makeKey();
const trusted = [{ publicKeyPem: key.publicKeyPem }];

interface Bundle {
  mediaType: string;
  verificationMaterial: { publicKey: { hint: string } };
  dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string; keyid: string }[] };
}

async function signedBundle(): Promise<Bundle> {
  return JSON.parse(Buffer.from(await signStatement(STATEMENT, key)).toString());
}

function encode(bundle: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(bundle));
}

/** Signs any payload whatever it says, so that checks behind the signature are reached. */
function resign(bundle: Bundle, payload: string, privateKey: KeyObject = key.privateKey): Uint8Array {
  const bytes = Buffer.from(payload);
  const signature = sign('sha256', dssePreAuthEncoding('application/vnd.in-toto+json', bytes), privateKey);
  bundle.dsseEnvelope.payload = bytes.toString('base64');
  bundle.dsseEnvelope.signatures = [{ sig: signature.toString('base64'), keyid: '' }];
  return encode(bundle);
}

describe('model signatures', () => {
  for (const curve of ['P-256', 'P-384', 'P-521'] as const) {
    test(`round trip on ${curve}`, async () => {
      const signer = makeKey(curve);
      const bytes = await signStatement(STATEMENT, signer);
      const statement = verifyBundle(bytes, [{ publicKeyPem: 'no key' }, ...trusted, signer]);
      assert.equal(statement.modelName, 'flow@1.0.0');
      assert.deepEqual(new Map(statement.digests), STATEMENT.digests);
    });
  }

  test('a flipped bit at any byte of the bundle is refused with a security error', async () => {
    const bytes = await signStatement(STATEMENT, key);
    for (let i = 0; i < bytes.length; i++) {
      const changed = Uint8Array.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      assert.throws(() => verifyBundle(changed, trusted), { category: 'security' }, `byte ${i}`);
    }
  });

  test('a bundle cut at any length is refused', async () => {
    const bytes = await signStatement(STATEMENT, key);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => verifyBundle(bytes.subarray(0, length), trusted), {
        code: 'registry.bundle-malformed',
      });
    }
  });

  test('refuses keys that are unknown, revoked, or of a kind the specification does not know', async () => {
    const bytes = await signStatement(STATEMENT, key);
    assert.throws(() => verifyBundle(bytes, []), { code: 'registry.signer-untrusted' });
    assert.throws(() => verifyBundle(bytes, [makeKey()]), { code: 'registry.signer-untrusted' });
    assert.throws(() => verifyBundle(bytes, [{ publicKeyPem: key.publicKeyPem, revoked: true }]), {
      code: 'registry.signer-revoked',
    });
    const { publicKey } = generateKeyPairSync('ed25519');
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const other = await signStatement(STATEMENT, { publicKeyPem, sign: async () => Buffer.alloc(64) });
    assert.throws(() => verifyBundle(other, [{ publicKeyPem }]), { code: 'registry.signature-invalid' });
  });

  test('takes white space in a foreign bundle only when told to', async () => {
    const bytes = Buffer.from(JSON.stringify(await signedBundle(), null, 2));
    assert.throws(() => verifyBundle(bytes, trusted), { code: 'registry.bundle-malformed' });
    assert.equal(verifyBundle(bytes, trusted, { canonical: false }).modelName, 'flow@1.0.0');
  });

  const STATEMENT_CHANGES: Readonly<Record<string, (text: string) => string>> = {
    'another statement type': (text) => text.replace('Statement/v1', 'Statement/v2'),
    'another predicate': (text) => text.replace('signature/v1.0', 'signature/v9.0'),
    'another root digest': (text) =>
      text.replace(/"sha256":"./, (found) => `${found.slice(0, -1)}${found.endsWith('0') ? '1' : '0'}`),
    'another digest of a file': (text) =>
      text.replace(/"digest":"./, (found) => `${found.slice(0, -1)}${found.endsWith('0') ? '1' : '0'}`),
    'another algorithm': (text) => text.replace('"algorithm":"sha256"', '"algorithm":"blake3"'),
    'followed links': (text) => text.replace('"allow_symlinks":false', '"allow_symlinks":true'),
    shards: (text) => text.replace('"files"', '"shards"'),
    'a file outside': (text) => text.replace('"model.agm"', '"../model.agm"'),
    'an absolute file': (text) => text.replace('"model.agm"', '"/model.agm"'),
    'a backslash': (text) => text.replace('"model.agm"', '"a\\\\b"'),
    'one file twice': (text) => text.replace('"model.agm"', '"manifest.json"'),
    'a member twice': (text) => text.replace('{"_type"', '{"_type":"x","_type"'),
    'no JSON': () => 'statement',
  };
  for (const [title, change] of Object.entries(STATEMENT_CHANGES)) {
    test(`a signed statement with ${title} is refused`, async () => {
      const bundle = await signedBundle();
      const text = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString();
      assert.notEqual(change(text), text);
      assert.throws(() => verifyBundle(resign(bundle, change(text)), trusted), {
        code: 'registry.bundle-malformed',
      });
    });
  }
});

/** The signing key's certificate stands in the certificate vector; the key vector names the same key by its hint. */
function vectorKey(folder: string, material: 'x509CertificateChain' | 'certificate', file: string): string {
  const bundle = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const held = bundle.verificationMaterial[material];
  const raw: string = material === 'certificate' ? held.rawBytes : held.certificates[0].rawBytes;
  const { publicKey } = new X509Certificate(Buffer.from(raw, 'base64'));
  return publicKey.export({ type: 'spki', format: 'pem' }) as string;
}

describe('published vectors', () => {
  const FOLDER = 'vectors/oms/test-vectors/v1.0';

  test('the P-384 key bundle verifies, and not with another key', (t) => {
    const folder = requireData(t, FOLDER);
    if (folder === undefined) return;
    const publicKeyPem = vectorKey(folder, 'x509CertificateChain', 'valid/certificate.bundle.json');
    const bytes = readFileSync(join(folder, 'valid/key.bundle.json'));
    const statement = verifyBundle(bytes, [{ publicKeyPem }], { canonical: false });
    assert.equal(statement.modelName, 'model');
    assert.deepEqual([...statement.digests.keys()], ['signme-1', 'signme-2']);
    assert.throws(() => verifyBundle(bytes, trusted, { canonical: false }), {
      code: 'registry.signer-untrusted',
    });
  });

  test('the certificate bundle verifies under its authority, on the days of its certificates', (t) => {
    const folder = requireData(t, FOLDER);
    if (folder === undefined) return;
    const bytes = readFileSync(join(folder, 'valid/certificate.bundle.json'));
    const { certificates } = JSON.parse(bytes.toString()).verificationMaterial.x509CertificateChain;
    // Its own root is not published with it: the chain ends at an authority that the root signed. That is trusted here.
    const authority = new X509Certificate(Buffer.from(certificates[1].rawBytes, 'base64'));
    assert.equal(authority.checkIssued(authority), false);
    const roots = [{ rootCertificatePem: authority.toString() }];
    const at = Date.UTC(2026, 0, 1);
    const statement = verifyBundle(bytes, roots, { at });
    assert.deepEqual([...statement.digests.keys()], ['signme-1', 'signme-2']);
    const refused = (signers: readonly TrustedSigner[], code: string, when = at, changed = bytes) =>
      assert.throws(() => verifyBundle(changed, signers, { at: when, canonical: false }), { code });
    refused(roots, 'registry.certificate-refused', Date.UTC(2035, 5, 1));
    refused(roots, 'registry.certificate-refused', Date.UTC(2025, 0, 1));
    refused([], 'registry.signer-untrusted');
    // A key that is trusted as such says nothing of certificates, though it is the signer's.
    const publicKeyPem = vectorKey(folder, 'x509CertificateChain', 'valid/certificate.bundle.json');
    refused([{ publicKeyPem }], 'registry.signer-untrusted');
    const signer = new X509Certificate(Buffer.from(certificates[0].rawBytes, 'base64')).toString();
    refused([{ rootCertificatePem: signer }], 'registry.signer-untrusted');
    const bundle = JSON.parse(bytes.toString());
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64')
      .toString()
      .replace('signme-1', 'signme-3');
    const dsseEnvelope = { ...bundle.dsseEnvelope, payload: Buffer.from(payload).toString('base64') };
    assert.notEqual(dsseEnvelope.payload, bundle.dsseEnvelope.payload);
    refused(roots, 'registry.signature-invalid', at, Buffer.from(encode({ ...bundle, dsseEnvelope })));
    // Neither kind of material can hide behind the other.
    const both = { ...bundle.verificationMaterial, publicKey: { hint: sha256Hex(publicKeyPem) } };
    const twofold = Buffer.from(encode({ ...bundle, verificationMaterial: both }));
    refused([{ publicKeyPem }, ...roots], 'registry.bundle-malformed', at, twofold);
  });

  test("Sigstore's keyless bundle is refused: it needs the public log", (t) => {
    const folder = requireData(t, FOLDER);
    if (folder === undefined) return;
    const publicKeyPem = vectorKey(folder, 'certificate', 'valid/sigstore.bundle.json');
    const bytes = readFileSync(join(folder, 'valid/sigstore.bundle.json'));
    assert.throws(() => verifyBundle(bytes, [{ publicKeyPem }], { canonical: false }), {
      code: 'registry.bundle-malformed',
    });
    // Its envelope is of the same form: with the certificate's key taken as a bare one it does verify.
    const hint = sha256Hex(publicKeyPem);
    const bundle = JSON.parse(bytes.toString());
    const bare = encode({ ...bundle, verificationMaterial: { publicKey: { hint } } });
    assert.equal(verifyBundle(bare, [{ publicKeyPem }], { canonical: false }).digests.size, 2);
  });

  test('every invalid bundle is refused', (t) => {
    const folder = requireData(t, FOLDER);
    if (folder === undefined) return;
    const publicKeyPem = vectorKey(folder, 'x509CertificateChain', 'valid/certificate.bundle.json');
    const files = [
      'invalid/empty.bundle.json',
      'invalid/missing-envelope.bundle.json',
      'invalid/missing-tlog-entries.bundle.json',
      'invalid/missing-verification-material.bundle.json',
      'invalid-payload/wrong-predicate.bundle.json',
    ];
    for (const file of files) {
      const bytes = readFileSync(join(folder, file));
      assert.throws(
        () => verifyBundle(bytes, [{ publicKeyPem }], { canonical: false }),
        { category: 'security' },
        file,
      );
    }
  });
});
