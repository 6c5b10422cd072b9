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
