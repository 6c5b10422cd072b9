import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AUTHORITY, type Certified, certify, SIGNER } from '../../test/support/signing-chain.ts';
import { CERTIFICATE_LIMITS, verifyCertificates } from './certificate-path.ts';

const DAY = 86_400_000;
const REFUSED = 'registry.certificate-refused';
const UNTRUSTED = 'registry.signer-untrusted';

let folder: string;
let root: Certified;
let middle: Certified;
let leaf: Certified;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificate-path-'));
  root = certify(folder, 'root');
  middle = certify(folder, 'middle', { by: root, extensions: AUTHORITY });
  leaf = certify(folder, 'leaf', { by: middle });
});

after(() => rmSync(folder, { recursive: true, force: true }));

function check(chain: readonly Certified[], roots: readonly Certified[] = [root], at = Date.now()) {
  return verifyCertificates(
    chain.map(({ der }) => der),
    roots.map(({ pem }) => pem),
    at,
  );
}

function refuses(code: string, message: RegExp, ...args: Parameters<typeof check>): void {
  assert.throws(() => check(...args), { code, message, category: 'security' });
}

/** A signer under the middle authority, with other extensions or another key. */
function signer(name: string, options: Parameters<typeof certify>[2]): readonly Certified[] {
  return [certify(folder, name, { by: middle, ...options }), middle];
}

describe('a path of certificates', () => {
  test('leads to a root, whether the bundle holds the root or not, in any order of authorities', () => {
    for (const chain of [
      [leaf, middle],
      [leaf, middle, root],
      [leaf, root, middle],
    ]) {
      assert.equal(check(chain).asymmetricKeyDetails?.namedCurve, 'prime256v1');
    }
  });

  test('ends at whatever authority is named, signed by itself or not', () => {
    assert.ok(check([leaf], [middle]));
    assert.ok(check([leaf, middle], [certify(folder, 'stranger'), middle]));
  });

  test('takes P-384 and P-521, authorities with RSA, and an authority that limits what is below it', () => {
    const rsa = certify(folder, 'rsa', { key: 2_048 });
    const limited = certify(folder, 'limited', {
      by: rsa,
      extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign'],
    });
    for (const key of ['P-384', 'P-521'] as const) {
      assert.ok(check([certify(folder, `leaf ${key}`, { by: limited, key }), limited], [rsa]));
    }
  });

  test('finds the good one of two authorities of one name and key', () => {
    const { keyFile } = middle;
    const old = certify(join(folder), 'middle', { by: root, extensions: AUTHORITY, keyFile, days: -1 });
    assert.ok(check([leaf, old, middle]));
    refuses(REFUSED, /an issuer's certificate expired/, [leaf, old]);
  });
});

describe('a path of certificates is refused', () => {
  test('under another root, one of the same name too, and under none', () => {
    refuses(UNTRUSTED, /no path/, [leaf, middle], [certify(folder, 'other root')]);
    const namesake = mkdtempSync(join(folder, 'namesake-'));
    refuses(UNTRUSTED, /no path/, [leaf, middle], [certify(namesake, 'root')]);
    refuses(UNTRUSTED, /no path/, [leaf, middle, root], []);
  });

  test('where an authority is missing', () => {
    refuses(UNTRUSTED, /no path/, [leaf]);
    refuses(UNTRUSTED, /no path/, [leaf, leaf]);
    refuses(REFUSED, /holds no certificate/, []);
  });

  test('before and after the days of any of its certificates', () => {
    refuses(REFUSED, /the signer's certificate expired/, [leaf, middle], [root], Date.now() + 3 * DAY);
    refuses(REFUSED, /is not valid before/, [leaf, middle], [root], Date.now() - DAY);
    refuses(REFUSED, /signer's certificate/, [leaf, middle], [root], Number.NaN);
    refuses(REFUSED, /the signer's certificate expired/, signer('old', { days: -1 }));
    const longer = certify(folder, 'longer', { by: middle, days: 9 });
    refuses(REFUSED, /an issuer's certificate expired/, [longer, middle], [root], Date.now() + 3 * DAY);
  });

  const LEAVES: Readonly<Record<string, readonly [RegExp, Parameters<typeof certify>[2]]>> = {
    'for TLS': [
      /code signing/,
      { extensions: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth'] },
    ],
    'for no purpose at all': [/code signing/, { extensions: ['keyUsage=critical,digitalSignature'] }],
    'for encipherment': [
      /digital signatures/,
      { extensions: ['keyUsage=critical,keyAgreement', 'extendedKeyUsage=codeSigning'] },
    ],
    'that does not tell its key usage': [
      /digital signatures/,
      { extensions: ['basicConstraints=CA:FALSE', 'extendedKeyUsage=codeSigning'] },
    ],
    'on another curve': [/P-256/, { key: 'secp256k1' }],
    'with RSA': [/P-256/, { key: 2_048 }],
    'signed over SHA-1': [/algorithm/, { hash: 'sha1' }],
    'with a constraint nobody knows': [
      /constraint/,
      { extensions: [...SIGNER, '1.2.3.4=critical,ASN1:NULL'] },
    ],
  };
  for (const [title, [message, options]] of Object.entries(LEAVES)) {
    test(`with a signer's certificate ${title}`, () => {
      refuses(REFUSED, message, signer(`leaf ${title}`, options));
    });
  }

  const ISSUERS: Readonly<Record<string, readonly [RegExp, Parameters<typeof certify>[2]]>> = {
    'that is a signer': [/not that of an authority/, { extensions: SIGNER }],
    'that is said to be none': [/not that of an authority/, { extensions: ['basicConstraints=CA:FALSE'] }],
    'that may not sign certificates': [
      /not that of an authority/,
      { extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,digitalSignature'] },
    ],
    'for TLS only': [/not for code signing/, { extensions: [...AUTHORITY, 'extendedKeyUsage=serverAuth'] }],
    'with constraints on names': [
      /constraint/,
      { extensions: [...AUTHORITY, 'nameConstraints=permitted;DNS:example.org'] },
    ],
    'with a short RSA key': [/RSA/, { extensions: AUTHORITY, key: 1_024 }],
  };
  for (const [title, [message, options]] of Object.entries(ISSUERS)) {
    test(`with an issuer ${title}`, () => {
      const issuer = certify(folder, `issuer ${title}`, { by: root, ...options });
      refuses(REFUSED, message, [certify(folder, `under ${title}`, { by: issuer }), issuer]);
    });
  }

  test('longer than an authority allows', () => {
    const extensions = ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign'];
    const short = certify(folder, 'short', { extensions });
    const below = certify(folder, 'below', { by: short, extensions: AUTHORITY });
    assert.ok(check([certify(folder, 'near', { by: short })], [short]));
    refuses(REFUSED, /allows 0/, [certify(folder, 'far', { by: below }), below], [short]);
  });

  test('with more certificates, bytes or paths than any signer has', () => {
    refuses(REFUSED, /at most/, Array(CERTIFICATE_LIMITS.chain + 1).fill(leaf));
    refuses(REFUSED, /at most/, [leaf], Array(CERTIFICATE_LIMITS.roots + 1).fill(root));
    const big = Buffer.alloc(CERTIFICATE_LIMITS.certificate + 1);
    assert.throws(() => verifyCertificates([big], [root.pem], 0), { code: REFUSED, message: /over/ });
    // Authorities that sign themselves under one name: each could stand above each, in every order.
    const { keyFile } = certify(folder, 'loop');
    const loops = Array.from({ length: CERTIFICATE_LIMITS.chain - 1 }, () =>
      certify(folder, 'loop', { keyFile }),
    );
    const under = certify(folder, 'under loops', { by: loops[0] as Certified });
    refuses(REFUSED, /too many paths/, [under, ...loops]);
  });

  test('with bytes that are no certificate, or one with bytes behind it; roots that are not one certificate', () => {
    for (const bytes of [new Uint8Array(), Buffer.from('x'), Buffer.concat([leaf.der, Buffer.alloc(1)])]) {
      assert.throws(() => verifyCertificates([bytes], [root.pem], Date.now()), { code: REFUSED });
    }
    for (const pem of ['', 'root', root.pem + middle.pem, `${root.pem}${' '.repeat(40_000)}`]) {
      assert.throws(() => verifyCertificates([leaf.der, middle.der], [pem], Date.now()), { code: REFUSED });
    }
  });

  test('with any bit of the signer flipped, always by a security error', () => {
    for (let i = 0; i < leaf.der.length; i++) {
      const changed = Uint8Array.from(leaf.der);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      assert.throws(() => verifyCertificates([changed, middle.der], [root.pem], Date.now()), {
        category: 'security',
      });
    }
  });
});
