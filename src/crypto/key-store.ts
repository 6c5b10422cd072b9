import type { SecretBuffer } from './secret-buffer.ts';

export type KeyPurpose = 'model-signing' | 'evaluator-signing' | 'log-signing' | 'wrapping';
export type KeyAlgorithm = 'ecdsa-p256' | 'ed25519' | 'aes-256';

/**
 * `active` does everything its purpose allows. `retired` no longer signs or wraps, but still unwraps, and its
 * signatures stay good. `revoked` does nothing: wrap data keys anew before revoking a wrapping key.
 */
export type KeyState = 'active' | 'retired' | 'revoked';

export const KEY_PURPOSES: readonly KeyPurpose[] = [
  'model-signing',
  'evaluator-signing',
  'log-signing',
  'wrapping',
];

/** What a key of each purpose is made of. */
export const PURPOSE_ALGORITHMS: Readonly<Record<KeyPurpose, KeyAlgorithm>> = {
  // OpenSSF Model Signing accepts NIST curves and no Ed25519.
  'model-signing': 'ecdsa-p256',
  'evaluator-signing': 'ecdsa-p256',
  // C2SP signed notes are Ed25519.
  'log-signing': 'ed25519',
  wrapping: 'aes-256',
};

/** The public side of one key. */
export interface KeyInfo {
  readonly id: string;
  readonly purpose: KeyPurpose;
  readonly algorithm: KeyAlgorithm;
  /** RFC 3339, UTC. */
  readonly createdAt: string;
  readonly state: KeyState;
  /** SubjectPublicKeyInfo as PEM; signing keys only. */
  readonly publicKeyPem?: string;
}

/** Keeps keys and uses them for its callers; no private key leaves it. Asynchronous, since a key may live in hardware. */
export interface KeyStore {
  /** `file` for the encrypted file. */
  readonly kind: string;
  list(): Promise<readonly KeyInfo[]>;
  /** The one active key of a purpose. Throws `crypto.key-missing`. */
  active(purpose: KeyPurpose): Promise<KeyInfo>;
  find(id: string): Promise<KeyInfo | undefined>;
  /** Makes the purpose's new active key and retires the one before. Durable when resolved. */
  generate(purpose: KeyPurpose): Promise<KeyInfo>;
  /**
   * Signs a whole message: `ecdsa-p256` gives DER over SHA-256, `ed25519` 64 raw bytes.
   * Throws `crypto.key-missing`, `crypto.key-refused`.
   */
  sign(keyId: string, message: Uint8Array): Promise<Uint8Array>;
  /** Wraps a key of n x 8 bytes, n >= 2, by RFC 3394; the result is 8 bytes longer. */
  wrap(keyId: string, key: SecretBuffer): Promise<Uint8Array>;
  /** Throws `crypto.integrity` when the wrapped bytes are not what `wrap` gave. */
  unwrap(keyId: string, wrapped: Uint8Array): Promise<SecretBuffer>;
  /** Wipes what can be wiped; every later call throws `crypto.store-closed`. */
  close(): Promise<void>;
}
