import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `crypto`. What may be tampering is `security` and never worth a retry. */
export const CRYPTO_ERRORS = {
  'crypto.integrity': {
    category: 'security',
    retry: false,
    says: 'Stored or wrapped bytes are not what was written: they were changed or damaged. Restore them from a backup.',
  },
  'crypto.unlock-refused': {
    category: 'security',
    retry: false,
    says: 'The unlock secret does not open this key store: wrong passphrase, wrong unlock file, or another kind of secret.',
  },
  'crypto.unlock-exposed': {
    category: 'security',
    retry: false,
    says: 'The unlock file can be read by other users; give it mode 0600 and consider its secret known.',
  },
  'crypto.unlock-missing': {
    category: 'resource',
    retry: false,
    says: 'The unlock file does not exist; without it the key store cannot be opened.',
  },
  'crypto.store-missing': {
    category: 'resource',
    retry: false,
    says: 'There is no key store at this path; `guardian keys init` makes one.',
  },
  'crypto.store-exists': {
    category: 'validation',
    retry: false,
    says: 'A key store exists at this path already and is never overwritten.',
  },
  'crypto.store-closed': {
    category: 'resource',
    retry: false,
    says: 'The key store was closed and its secrets are wiped; open it again.',
  },
  'crypto.key-missing': {
    category: 'resource',
    retry: false,
    says: 'The key store holds no such key, or no active key for this purpose.',
  },
  'crypto.key-refused': {
    category: 'security',
    retry: false,
    says: 'The key may not do this: it is retired or revoked, or was made for another purpose.',
  },
  'crypto.uri-invalid': {
    category: 'validation',
    retry: false,
    says: 'The `pkcs11:` URI is malformed, names what is not known here, or holds a PIN, which is refused.',
  },
  'crypto.pkcs11-missing': {
    category: 'resource',
    retry: false,
    says: 'Keys in a token need the optional package pkcs11js: npm install pkcs11js@2.1.7.',
  },
  'crypto.module-missing': {
    category: 'resource',
    retry: true,
    says: 'The PKCS#11 module of the URI is not there or cannot be loaded; install the driver of the token.',
  },
  'crypto.hsm-away': {
    category: 'resource',
    retry: true,
    says: 'The token does not answer or is not there. What is loaded goes on; nothing is signed or loaded until it is back.',
  },
  'crypto.hsm-failed': {
    category: 'resource',
    retry: false,
    says: 'The token is there and refused the operation; the message names its return value.',
  },
  'crypto.pin-missing': {
    category: 'resource',
    retry: false,
    says: 'The PIN file does not exist or holds no PIN; name it by pin-source=file: in the URI.',
  },
  'crypto.pin-exposed': {
    category: 'security',
    retry: false,
    says: 'The PIN file can be read by other users; give it mode 0600 and change the PIN.',
  },
  'crypto.pin-wrong': {
    category: 'security',
    retry: false,
    says: 'The token refused the PIN. Correct the PIN file; after three in a row there is a wait of 30 s, doubling to 15 min.',
  },
  'crypto.pin-locked-out': {
    category: 'security',
    retry: true,
    says: 'Too many wrong PINs in a row, or the token itself is locked; the message says how long it is left alone.',
  },
  'crypto.secret-wiped': {
    category: 'resource',
    retry: false,
    says: 'A secret was used after it had been wiped.',
  },
  'crypto.not-canonical': {
    category: 'validation',
    retry: false,
    says: 'A value has no canonical JSON form (NaN, undefined, a lone surrogate, a cycle), or a text is not in that form.',
  },
  'crypto.wrap-invalid': {
    category: 'validation',
    retry: false,
    says: 'A set of key wraps is malformed, of an unknown version, or empty.',
  },
} as const satisfies ErrorCatalogue;

export type CryptoErrorCode = keyof typeof CRYPTO_ERRORS;

export class CryptoError extends GuardianError {
  constructor(code: CryptoErrorCode, message: string, options?: GuardianErrorOptions) {
    super(CRYPTO_ERRORS, code, message, options);
  }
}

/** Codes that say the keys cannot be reached now, and nothing about what they sign or open. */
const KEYS_AWAY: ReadonlySet<string> = new Set<CryptoErrorCode>([
  'crypto.hsm-away',
  'crypto.hsm-failed',
  'crypto.module-missing',
  'crypto.pin-wrong',
  'crypto.pin-missing',
  'crypto.pin-exposed',
  'crypto.pin-locked-out',
]);

/** Whether an operation failed for want of the key store, so that it says nothing about tampering. */
export function isKeysAway(error: unknown): boolean {
  return error instanceof CryptoError && KEYS_AWAY.has(error.code);
}
