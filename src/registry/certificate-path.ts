import { type KeyObject, X509Certificate } from 'node:crypto';
import type { Bytes, Milliseconds } from '../base/index.ts';
import { type CertificateFields, readCertificateFields } from './certificate-fields.ts';
import { RegistryError } from './errors.ts';

/** Far above what signers use. `checks` bounds the signatures verified in search of a path, whatever the certificates say. */
export const CERTIFICATE_LIMITS = {
  chain: 8,
  roots: 16,
  certificate: 16_384 as Bytes,
  rootPem: 32_768,
  checks: 64,
} as const;

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const ANY_PURPOSE = '2.5.29.37.0';
const LEAF_CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
const MIN_RSA_BITS = 2_048;
/** ECDSA and RSA (PKCS #1 v1.5) with SHA-256, SHA-384, SHA-512, and Ed25519; nothing on SHA-1 or MD5. */
const SIGNATURE_ALGORITHMS = new Set([
  ...['1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4'],
  ...['1.2.840.113549.1.1.11', '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13'],
  '1.3.101.112',
]);

interface Certificate {
  readonly x509: X509Certificate;
  readonly fields: CertificateFields;
}

interface Search {
  readonly roots: readonly Certificate[];
  readonly pool: readonly Certificate[];
  readonly at: Milliseconds;
  checks: number;
  /** Why the first issuer that signed was refused all the same. */
  problem: string | undefined;
}

/**
 * Checks that the first certificate may sign models and that a path leads from it to one of the roots, and returns its
 * key (P-256, P-384 or P-521). A root is whatever CA certificate the caller names, signed by itself or not. Every
 * certificate must be valid at the one time `at`: no timestamp authority says when the bundle was signed, so this is
 * the time of verification, and the end of a certificate ends its signatures. Revocation is not looked up.
 * Throws `registry.certificate-refused`, and `registry.signer-untrusted` where no path ends in a root.
 */
export function verifyCertificates(
  chain: readonly Uint8Array[],
  rootsPem: readonly string[],
  at: Milliseconds,
): KeyObject {
  if (chain.length > CERTIFICATE_LIMITS.chain || rootsPem.length > CERTIFICATE_LIMITS.roots) {
    throw refused(
      `expected at most ${CERTIFICATE_LIMITS.chain} certificates and ${CERTIFICATE_LIMITS.roots} roots`,
    );
  }
  const [leaf, ...pool] = chain.map(readDer);
  const roots = rootsPem.map(readRoot);
  if (leaf === undefined) throw refused('the bundle holds no certificate');
  const problem = leafProblem(leaf, at);
  if (problem !== undefined) throw refused(`the signer's certificate ${problem}`);
  const search: Search = { roots, pool, at, checks: 0, problem: undefined };
  if (reachesRoot(leaf, [leaf], search)) return leaf.x509.publicKey;
  if (search.problem !== undefined) throw refused(`an issuer's certificate ${search.problem}`);
  throw new RegistryError(
    'registry.signer-untrusted',
    "no path leads from the signer's certificate to a trusted root",
  );
}

/** Goes up from the last of `path`, which is all good so far; tries roots first. */
function reachesRoot(below: Certificate, path: readonly Certificate[], search: Search): boolean {
  for (const root of search.roots) {
    if (isGoodIssuer(root, below, path, search)) return true;
  }
  for (const issuer of search.pool) {
    if (path.includes(issuer) || !isGoodIssuer(issuer, below, path, search)) continue;
    if (reachesRoot(issuer, [...path, issuer], search)) return true;
  }
  return false;
}

function isGoodIssuer(
  issuer: Certificate,
  below: Certificate,
  path: readonly Certificate[],
  search: Search,
): boolean {
  if (issuer.fields.subject !== below.fields.issuer) return false;
  search.checks++;
  if (search.checks > CERTIFICATE_LIMITS.checks) throw refused('the certificates hold too many paths');
  if (!isSignedBy(below.x509, issuer.x509)) return false;
  const problem = issuerProblem(issuer, path, search.at);
  search.problem ??= problem;
  return problem === undefined;
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

/**
 * The key usage must say digital signature and the extended key usage code signing. The reference tool is content with
 * either; a certificate made for TLS would pass there.
 */
function leafProblem({ x509, fields }: Certificate, at: Milliseconds): string | undefined {
  if (fields.isDigitalSignature !== true) return 'has no key usage for digital signatures';
  if (x509.keyUsage?.includes(CODE_SIGNING) !== true) return 'has no extended key usage for code signing';
  const curve = x509.publicKey.asymmetricKeyDetails?.namedCurve ?? '';
  if (!LEAF_CURVES.includes(curve)) return 'has a key on none of P-256, P-384 and P-521';
  return commonProblem({ x509, fields }, at);
}

/** `path` leads from the signer up to the certificate that this one issued. */
function issuerProblem(
  { x509, fields }: Certificate,
  path: readonly Certificate[],
  at: Milliseconds,
): string | undefined {
  // Node takes the key usage into account where there is one: it must allow to sign certificates.
  if (!x509.ca) return 'is not that of an authority';
  // Authorities between it and the signer; one that issues to itself does not count (RFC 5280 section 6.1.4).
  const between = path.slice(1).filter(({ fields: { issuer, subject } }) => issuer !== subject).length;
  if (fields.pathLength !== undefined && between > fields.pathLength) {
    return `allows ${fields.pathLength} authorities below it, not ${between}`;
  }
  const purposes = x509.keyUsage;
  if (purposes !== undefined && !purposes.includes(CODE_SIGNING) && !purposes.includes(ANY_PURPOSE)) {
    return 'is not for code signing';
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = x509.publicKey;
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) {
    return `has an RSA key of less than ${MIN_RSA_BITS} bits`;
  }
  return commonProblem({ x509, fields }, at);
}

function commonProblem({ x509, fields }: Certificate, at: Milliseconds): string | undefined {
  // Written so that a time that does not parse is refused.
  if (!(at >= x509.validFromDate.getTime())) return `is not valid before ${x509.validFrom}`;
  if (!(at <= x509.validToDate.getTime())) return `expired ${x509.validTo}`;
  if (!SIGNATURE_ALGORITHMS.has(x509.signatureAlgorithmOid ?? ''))
    return 'is signed by an algorithm that is not taken';
  if (fields.unknownCritical !== undefined) return 'has a constraint that is not understood here';
  return undefined;
}

function readDer(bytes: Uint8Array): Certificate {
  if (bytes.length > CERTIFICATE_LIMITS.certificate) {
    throw refused(`a certificate is over ${CERTIFICATE_LIMITS.certificate} bytes`);
  }
  const certificate = read(bytes);
  if (certificate === undefined || Buffer.compare(certificate.x509.raw, bytes) !== 0) {
    throw refused('a certificate in the bundle is not DER of X.509 version 3');
  }
  return certificate;
}

/** Exactly one certificate a text, so that none is trusted that nobody looked at and none is left out unsaid. */
function readRoot(pem: string): Certificate {
  const isOne = pem.split('-----BEGIN CERTIFICATE-----').length === 2;
  const root = isOne && pem.length <= CERTIFICATE_LIMITS.rootPem ? read(pem) : undefined;
  if (root !== undefined) return root;
  throw refused('expected each root to be PEM of one X.509 version 3 certificate');
}

function read(source: Uint8Array | string): Certificate | undefined {
  try {
    const x509 = new X509Certificate(source);
    // Keys of unknown kinds throw when they are first asked for.
    const fields = x509.publicKey === undefined ? undefined : readCertificateFields(x509);
    return fields === undefined ? undefined : { x509, fields };
  } catch {
    return undefined;
  }
}

function refused(message: string): RegistryError {
  return new RegistryError('registry.certificate-refused', message);
}
