import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { SecretBuffer } from './secret-buffer.ts';

/** A sealed blob and the key that opens it; the caller wraps the key and then wipes it. */
export interface SealedBlobParts {
  /** `AGSB`, version 1, cipher 1, two zero bytes, nonce (12), ciphertext, tag (16). */
  readonly blob: Uint8Array;
  /** 32 bytes, made for this blob alone. */
  readonly dataKey: SecretBuffer;
}

const HEADER = Buffer.from([0x41, 0x47, 0x53, 0x42, 1, 1, 0, 0]);
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX_BYTES = HEADER.length + NONCE_BYTES;

/**
 * Encrypts with AES-256-GCM under a fresh data key. `aad` is authenticated and not stored: it says what the
 * blob is (a model's name and version, say), so that one blob cannot stand in for another.
 */
export function seal(plaintext: Uint8Array, aad: Uint8Array): SealedBlobParts {
  const dataKey = SecretBuffer.random(32);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = dataKey.use((key) =>
    createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }),
  );
  cipher.setAAD(Buffer.concat([HEADER, aad]));
  const body = cipher.update(plaintext);
  const blob = Buffer.concat([HEADER, nonce, body, cipher.final(), cipher.getAuthTag()]);
  return { blob, dataKey };
}

/** Decrypts what `seal` made. Throws `crypto.integrity` on any change to blob, key or `aad`. */
export function open(blob: Uint8Array, dataKey: SecretBuffer, aad: Uint8Array): Uint8Array {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  if (bytes.length < PREFIX_BYTES + TAG_BYTES || !bytes.subarray(0, HEADER.length).equals(HEADER)) {
    throw new CryptoError(
      'crypto.integrity',
      'expected a sealed blob of version 1, got other or fewer bytes',
    );
  }
  const nonce = bytes.subarray(HEADER.length, PREFIX_BYTES);
  const tagAt = bytes.length - TAG_BYTES;
  try {
    const decipher = dataKey.use((key) =>
      createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }),
    );
    decipher.setAAD(Buffer.concat([HEADER, aad]));
    decipher.setAuthTag(bytes.subarray(tagAt));
    return Buffer.concat([decipher.update(bytes.subarray(PREFIX_BYTES, tagAt)), decipher.final()]);
  } catch (cause) {
    if (cause instanceof CryptoError) throw cause;
    throw new CryptoError(
      'crypto.integrity',
      'sealed blob does not open: it, its key or its context was changed',
      {
        cause,
      },
    );
  }
}
