import type { SecretBuffer } from './secret-buffer.ts';

export type KeyPurpose =
  | 'model-signing'
  | 'evaluator-signing'
  | 'log-signing'
  | 'wrapping'
  | 'post-quantum-signing'
  | 'member-signing'
  | 'roster-signing';
export type KeyAlgorithm = 'ecdsa-p256' | 'ed25519' | 'aes-256' | 'ml-dsa-65';

/**
 * `active` does everything its purpose allows. `retired` no longer signs or wraps, but still unwraps, and its
 * signatures stay good. `revoked` does nothing: wrap data keys anew before revoking a wrapping key.
 */
export type KeyState = 'active' | 'retired' | 'revoked';

/** What every key store has a key for from its first day. */
export const INITIAL_PURPOSES: readonly KeyPurpose[] = [
  'model-signing',
  'evaluator-signing',
  'log-signing',
  'wrapping',
];

/** Every purpose; the keys of the later ones are made when they are first asked for. */
export const KEY_PURPOSES: readonly KeyPurpose[] = [
  ...INITIAL_PURPOSES,
  'post-quantum-signing',
  'member-signing',
  'roster-signing',
];

/** What a key of each purpose is made of. */
export const PURPOSE_ALGORITHMS: Readonly<Record<KeyPurpose, KeyAlgorithm>> = {
  // OpenSSF Model Signing accepts NIST curves and no Ed25519.
  'model-signing': 'ecdsa-p256',
  'evaluator-signing': 'ecdsa-p256',
  // C2SP signed notes are Ed25519.
  'log-signing': 'ed25519',
  wrapping: 'aes-256',
  // FIPS 204; a second signature beside that of model-signing.
  'post-quantum-signing': 'ml-dsa-65',
  // What a member of a secure training says; many a run, so counted and not logged one by one.
  'member-signing': 'ed25519',
  // Rosters of secure trainings, as their approver.
  'roster-signing': 'ed25519',
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
  /** `file` for the encrypted file, `pkcs11` for a token. */
  readonly kind: string;
  list(): Promise<readonly KeyInfo[]>;
  /** The one active key of a purpose. Throws `crypto.key-missing`. */
  active(purpose: KeyPurpose): Promise<KeyInfo>;
  find(id: string): Promise<KeyInfo | undefined>;
  /** Makes the purpose's new active key and retires the one before. Durable when resolved. */
  generate(purpose: KeyPurpose): Promise<KeyInfo>;
  /** Ends a key's use for signing and wrapping. Durable when resolved. Throws `crypto.key-missing`, `crypto.key-refused`. */
  retire(id: string): Promise<KeyInfo>;
  /** Ends every use of a key. What only a revoked wrapping key opens is lost: wrap anew first. */
  revoke(id: string): Promise<KeyInfo>;
  /**
   * Signs a whole message: `ecdsa-p256` gives DER over SHA-256, `ed25519` and `ml-dsa-65` raw bytes.
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
