import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { KeyAlgorithm } from './key-store.ts';

/**
 * Whether a signature over a whole message is good: `ecdsa-p256` as DER over SHA-256, `ed25519` and
 * `ml-dsa-65` as raw bytes.
 * `publicKey` is PEM, or parsed already where many are verified. Anything malformed, and a key of another kind than `algorithm`, is simply not good: it never throws.
 */
export function verifySignature(
  publicKey: string | KeyObject,
  algorithm: KeyAlgorithm,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    const key = typeof publicKey === 'string' ? createPublicKey(publicKey) : publicKey;
    switch (algorithm) {
      case 'ecdsa-p256':
        if (key.asymmetricKeyType !== 'ec') return false;
        if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false;
        return verify('sha256', message, { key, dsaEncoding: 'der' }, signature);
      case 'ed25519':
        if (key.asymmetricKeyType !== 'ed25519') return false;
        return signature.length === 64 && verify(null, message, key, signature);
      case 'ml-dsa-65':
        return key.asymmetricKeyType === 'ml-dsa-65' && verify(null, message, key, signature);
      case 'aes-256':
        return false;
      default:
        return algorithm satisfies never;
    }
  } catch {
    return false;
  }
}

/** The bytes a DSSE signature covers: `DSSEv1 <length> <type> <length> <payload>` (DSSE protocol, PAE). */
export function dssePreAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
