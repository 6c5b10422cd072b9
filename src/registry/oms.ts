import { createHash, createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import type { Bytes, Milliseconds } from '../base/index.ts';
import { canonicalJson, dssePreAuthEncoding, sha256Hex } from '../crypto/index.ts';
import { CERTIFICATE_LIMITS, verifyCertificates } from './certificate-path.ts';
import { RegistryError } from './errors.ts';

/**
 * OpenSSF Model Signing v1.0: a Sigstore bundle around a DSSE envelope around an in-toto statement that lists every
 * file with its SHA-256. Signed here with a bare key; verified with bare keys, or by certificates up to a given root.
 * Sigstore's keyless bundles are refused: they need the public log.
 */
export interface OmsStatement {
  /** The subject's name. */
  readonly modelName: string;
  /** Hexadecimal SHA-256 by relative file name. */
  readonly digests: ReadonlyMap<string, string>;
}

/** A key whose signatures count. */
export interface TrustedKey {
  /** SubjectPublicKeyInfo, PEM; P-256, P-384 or P-521. */
  readonly publicKeyPem: string;
  readonly revoked?: boolean;
}

/** An authority: signers count whose certificates lead to it. */
export interface TrustedRoot {
  /** One CA certificate, PEM. */
  readonly rootCertificatePem: string;
}

/** Bundles that name a bare key are held against the keys, bundles with certificates against the roots. */
export type TrustedSigner = TrustedKey | TrustedRoot;

export interface VerifyBundleOptions {
  /**
   * Accept only the very bytes that `signStatement` writes, so that no byte can change unseen; default true.
   * False accepts any bundle that conforms. Says nothing of bundles with certificates: none is written here.
   */
  readonly canonical?: boolean;
  /** When certificates must be valid; now by default, since no timestamp authority says when a bundle was signed. */
  readonly at?: Milliseconds;
}

const MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
const PREDICATE_TYPE = 'https://model_signing/signature/v1.0';
/** Room for every file that a statement may list. */
const MAX_BUNDLE_BYTES: Bytes = 1 << 28;
const IGNORED_PATHS = ['.git', '.gitignore', '.gitattributes', '.github'];
/** Curves and their hashes, as the specification pairs them. */
const CURVE_HASHES: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
};

const base64 = z.string().refine((text) => Buffer.from(text, 'base64').toString('base64') === text);
const hexDigest = z.string().regex(/^[0-9a-f]{64}$/);

const PUBLIC_KEY = z.object({
  publicKey: z.object({ hint: z.string().min(1).max(256) }),
  x509CertificateChain: z.undefined().optional(),
});
const CERTIFICATES = z.object({
  publicKey: z.undefined().optional(),
  x509CertificateChain: z.object({
    certificates: z
      .array(z.object({ rawBytes: base64.max(2 * CERTIFICATE_LIMITS.certificate) }))
      .min(1)
      .max(CERTIFICATE_LIMITS.chain),
  }),
});

const BUNDLE = z.object({
  mediaType: z.string().startsWith('application/vnd.dev.sigstore.bundle'),
  verificationMaterial: z.union(
    [PUBLIC_KEY, CERTIFICATES],
    'expected one public key or a chain of certificates',
  ),
  dsseEnvelope: z.object({
    payload: base64,
    payloadType: z.literal(PAYLOAD_TYPE),
    signatures: z.array(z.object({ sig: base64 })).length(1),
  }),
});

const STATEMENT = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(z.strictObject({ name: z.string().min(1), digest: z.strictObject({ sha256: hexDigest }) }))
    .length(1),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.strictObject({
    resources: z
      .array(
        z.object({
          name: z.string().min(1).max(1024).refine(isRelativeName),
          digest: hexDigest,
          algorithm: z.literal('sha256'),
        }),
      )
      .min(1)
      .max(100_000),
    serialization: z.object({
      method: z.literal('files'),
      hash_type: z.literal('sha256'),
      allow_symlinks: z.literal(false),
      ignore_paths: z.array(z.string()).optional(),
    }),
  }),
});

/** Signs the statement; `sign` gives DER ECDSA over the message by the key of `publicKeyPem`. Returns the bundle's bytes. */
export async function signStatement(
  statement: OmsStatement,
  signer: { readonly publicKeyPem: string; sign(message: Uint8Array): Promise<Uint8Array> },
): Promise<Uint8Array> {
  const payload = encodeStatement(statement);
  const signature = await signer.sign(dssePreAuthEncoding(PAYLOAD_TYPE, payload));
  return encodeBundle(payload, signature, keyHint(createPublicKey(signer.publicKeyPem)));
}

/**
 * Checks form, signer, signature and root digest, in this order, and returns what was signed. It is for the caller to
 * compare the digests with files. Throws `registry.bundle-malformed`, `registry.signer-untrusted`,
 * `registry.signer-revoked`, `registry.certificate-refused`, `registry.signature-invalid`.
 */
export function verifyBundle(
  bytes: Uint8Array,
  trusted: readonly TrustedSigner[],
  options: VerifyBundleOptions = {},
): OmsStatement {
  const bundle = parse(BUNDLE, bytes, 'bundle');
  const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64');
  const signature = Buffer.from(bundle.dsseEnvelope.signatures[0]?.sig ?? '', 'base64');
  const { publicKey, x509CertificateChain: chain } = bundle.verificationMaterial;
  const key =
    chain === undefined
      ? findSigner(publicKey.hint, trusted)
      : verifyCertificates(chain.certificates.map(rawBytes), rootsOf(trusted), options.at ?? Date.now());
  const hash = CURVE_HASHES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (hash === undefined || !isSigned(hash, payload, key, signature)) {
    throw new RegistryError('registry.signature-invalid', 'the signature does not fit the statement');
  }
  const statement = readStatement(payload);
  if (chain === undefined && (options.canonical ?? true)) {
    const again = encodeStatement(statement);
    if (!same(again, payload) || !same(encodeBundle(again, signature, keyHint(key)), bytes)) {
      throw new RegistryError(
        'registry.bundle-malformed',
        'the bundle is not in the form the registry writes',
      );
    }
  }
  return statement;
}

/** The key that a bundle says it is signed by, as `keyHint` gives it; says nothing about whether that is so. */
export function bundleSigner(bytes: Uint8Array): string {
  const { publicKey, x509CertificateChain: chain } = parse(BUNDLE, bytes, 'bundle').verificationMaterial;
  if (chain === undefined) return publicKey.hint;
  const [first] = chain.certificates.map(rawBytes);
  return keyHint(new X509Certificate(first ?? new Uint8Array()).publicKey);
}

/** Whether a bundle names its signer by certificate, and so is not in the form that is written here. */
export function isByCertificate(bytes: Uint8Array): boolean {
  return parse(BUNDLE, bytes, 'bundle').verificationMaterial.x509CertificateChain !== undefined;
}

/** The bytes that signatures of a statement are over. */
export function statementPreAuthEncoding(statement: OmsStatement): Uint8Array {
  return dssePreAuthEncoding(PAYLOAD_TYPE, encodeStatement(statement));
}

/** How a bundle names its key: hexadecimal SHA-256 of the PEM text, its last newline included. */
export function keyHint(key: KeyObject): string {
  return sha256Hex(key.export({ type: 'spki', format: 'pem' }) as string);
}

function rawBytes({ rawBytes }: { readonly rawBytes: string }): Uint8Array {
  return Buffer.from(rawBytes, 'base64');
}

function rootsOf(trusted: readonly TrustedSigner[]): readonly string[] {
  return trusted.flatMap((signer) => ('rootCertificatePem' in signer ? [signer.rootCertificatePem] : []));
}

function findSigner(hint: string, trusted: readonly TrustedSigner[]): KeyObject {
  for (const signer of trusted) {
    if (!('publicKeyPem' in signer)) continue;
    const { publicKeyPem, revoked } = signer;
    const key = readKey(publicKeyPem);
    if (key === undefined || keyHint(key) !== hint) continue;
    if (revoked === true) throw new RegistryError('registry.signer-revoked', 'the signing key was revoked');
    return key;
  }
  throw new RegistryError('registry.signer-untrusted', `no trusted key has the hint ${hint.slice(0, 16)}`);
}

function readKey(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined;
  }
}

function isSigned(hash: string, payload: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  try {
    const message = dssePreAuthEncoding(PAYLOAD_TYPE, payload);
    return verify(hash, message, { key, dsaEncoding: 'der' }, signature);
  } catch {
    return false;
  }
}

function readStatement(payload: Uint8Array): OmsStatement {
  const { subject, predicate } = parse(STATEMENT, payload, 'statement');
  const digests = new Map(predicate.resources.map(({ name, digest }) => [name, digest]));
  if (digests.size !== predicate.resources.length) {
    throw new RegistryError('registry.bundle-malformed', 'the statement names a file twice');
  }
  if (rootDigest(digests) !== subject[0]?.digest.sha256) {
    throw new RegistryError('registry.bundle-malformed', 'the root digest does not fit the listed files');
  }
  return { modelName: subject[0].name, digests };
}

function encodeStatement({ modelName, digests }: OmsStatement): Uint8Array {
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name: modelName, digest: { sha256: rootDigest(digests) } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      resources: sortedEntries(digests).map(([name, digest]) => ({ name, digest, algorithm: 'sha256' })),
      serialization: {
        method: 'files',
        hash_type: 'sha256',
        allow_symlinks: false,
        ignore_paths: IGNORED_PATHS,
      },
    },
  };
  return Buffer.from(canonicalJson(statement));
}

function encodeBundle(payload: Uint8Array, signature: Uint8Array, hint: string): Uint8Array {
  const bundle = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
    dsseEnvelope: {
      payload: Buffer.from(payload).toString('base64'),
      payloadType: PAYLOAD_TYPE,
      signatures: [{ sig: Buffer.from(signature).toString('base64'), keyid: '' }],
    },
  };
  return Buffer.from(canonicalJson(bundle));
}

/** SHA-256 over the raw digests in the order of their names. */
function rootDigest(digests: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256');
  for (const [, digest] of sortedEntries(digests)) hash.update(Buffer.from(digest, 'hex'));
  return hash.digest('hex');
}

/** By code points, which is the order of the UTF-8 bytes and not that of JavaScript's strings. */
function sortedEntries(digests: ReadonlyMap<string, string>): [string, string][] {
  return [...digests].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function isRelativeName(name: string): boolean {
  return (
    !name.includes('\\') &&
    !name.includes('\0') &&
    name.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..')
  );
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  if (bytes.length > MAX_BUNDLE_BYTES) {
    throw new RegistryError('registry.bundle-malformed', `the ${what} is over ${MAX_BUNDLE_BYTES} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new RegistryError('registry.bundle-malformed', `the ${what} is no JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new RegistryError(
    'registry.bundle-malformed',
    `${what}: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}
