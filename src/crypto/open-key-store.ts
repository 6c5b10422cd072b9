import type { Clock } from '../base/index.ts';
import { CryptoError } from './errors.ts';
import { createFileKeyStore, openFileKeyStore } from './file-key-store.ts';
import type { KeyStore } from './key-store.ts';
import { createPkcs11KeyStore, openPkcs11KeyStore } from './pkcs11-key-store.ts';
import { isPkcs11Uri } from './pkcs11-uri.ts';
import type { UnlockSecret } from './unlock-secret.ts';

export interface OpenKeyStoreOptions {
  /** `file`, or an RFC 7512 URI that begins with `pkcs11:`. */
  readonly uri: string;
  /** Of the file store. */
  readonly path: string;
  readonly secret: UnlockSecret;
  /** The PIN file, where a `pkcs11:` URI names none. */
  readonly pinPath: string;
  /** Where wrong PINs are counted. */
  readonly attemptsPath: string;
  readonly clock: Clock;
  /** Whether to make a store where there is none; else `crypto.store-missing` is thrown. */
  readonly create: boolean;
}

/** Opens the store that a URI names, and makes it where that is asked. Throws what the stores throw. */
export async function openKeyStore(options: OpenKeyStoreOptions): Promise<KeyStore> {
  const { uri, path, secret, pinPath, attemptsPath, clock, create } = options;
  const token = { uri, pinPath, attemptsPath, clock };
  try {
    return await (isPkcs11Uri(uri) ? openPkcs11KeyStore(token) : openFileKeyStore({ path, secret, clock }));
  } catch (error) {
    if (!create || !(error instanceof CryptoError) || error.code !== 'crypto.store-missing') throw error;
    return await (isPkcs11Uri(uri)
      ? createPkcs11KeyStore(token)
      : createFileKeyStore({ path, secret, clock }));
  }
}
