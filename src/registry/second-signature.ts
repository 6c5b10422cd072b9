import { createPublicKey } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson, type KeyInfo, type KeyStore, verifySignature } from '../crypto/index.ts';
import { RegistryError } from './errors.ts';
import { keyHint, type OmsStatement, statementPreAuthEncoding, type TrustedKey } from './oms.ts';

/**
 * A second signature over the very statement that model.sig signs, by ML-DSA-65 (FIPS 204): it holds should P-256 fall.
 * It has a file of its own, since the Model Signing format takes one signature and no such key.
 */
export const SECOND_SIGNATURE_FILE = 'model.sig.mldsa65';

/** What is demanded of the second signature, and whose counts. */
export interface SecondSignature {
  readonly bytes: Uint8Array | undefined;
  readonly isRequired: boolean;
  readonly trusted: readonly TrustedKey[];
}

const FILE = z.strictObject({
  v: z.literal(1),
  algorithm: z.literal('ml-dsa-65'),
  hint: z.string().regex(/^[0-9a-f]{64}$/),
  signature: z.base64(),
});

/** The file's bytes; the key is made when it is first wanted. */
export async function signSecond(keys: KeyStore, statement: OmsStatement): Promise<Uint8Array> {
  const key = await secondSigner(keys);
  const signature = await keys.sign(key.id, statementPreAuthEncoding(statement));
  return encode(keyHint(createPublicKey(key.publicKeyPem ?? '')), signature);
}

/**
 * Checks the second signature where there is one. Throws `registry.second-signature-missing` where one is demanded, and
 * `registry.bundle-malformed`, `registry.signer-untrusted`, `registry.signer-revoked`, `registry.signature-invalid`.
 */
export function verifySecond(statement: OmsStatement, { bytes, isRequired, trusted }: SecondSignature): void {
  if (bytes === undefined) {
    if (!isRequired) return;
    throw new RegistryError(
      'registry.second-signature-missing',
      `${statement.modelName} has no signature by ML-DSA-65, which is demanded`,
    );
  }
  const { hint, signature } = parse(bytes);
  const signer = trusted.find(({ publicKeyPem }) => hintOf(publicKeyPem) === hint);
  if (signer === undefined) {
    throw new RegistryError(
      'registry.signer-untrusted',
      `no trusted ML-DSA-65 key has the hint ${hint.slice(0, 16)}`,
    );
  }
  if (signer.revoked === true) {
    throw new RegistryError('registry.signer-revoked', 'the key of the second signature was revoked');
  }
  const message = statementPreAuthEncoding(statement);
  if (!verifySignature(signer.publicKeyPem, 'ml-dsa-65', message, Buffer.from(signature, 'base64'))) {
    throw new RegistryError('registry.signature-invalid', 'the second signature does not fit the statement');
  }
}

/** Whether a public key is one that second signatures are made with. */
export function isSecondKey(publicKeyPem: string): boolean {
  try {
    return createPublicKey(publicKeyPem).asymmetricKeyType === 'ml-dsa-65';
  } catch {
    return false;
  }
}

async function secondSigner(keys: KeyStore): Promise<KeyInfo> {
  const known = (await keys.list()).find(
    ({ purpose, state }) => purpose === 'post-quantum-signing' && state === 'active',
  );
  return known ?? (await keys.generate('post-quantum-signing'));
}

function parse(bytes: Uint8Array): z.output<typeof FILE> {
  try {
    const file = FILE.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    // Only the very bytes that are written here, so that none can change unseen.
    if (Buffer.compare(encode(file.hint, Buffer.from(file.signature, 'base64')), bytes) === 0) return file;
  } catch {
    // Told below, without the parser's words.
  }
  throw new RegistryError(
    'registry.bundle-malformed',
    'the second signature is not in the form the registry writes',
  );
}

function encode(hint: string, signature: Uint8Array): Uint8Array {
  const base64 = Buffer.from(signature).toString('base64');
  return Buffer.from(canonicalJson({ v: 1, algorithm: 'ml-dsa-65', hint, signature: base64 }));
}

function hintOf(publicKeyPem: string): string | undefined {
  return isSecondKey(publicKeyPem) ? keyHint(createPublicKey(publicKeyPem)) : undefined;
}
