import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `storage`. */
export const STORAGE_ERRORS = {
  'storage.name-invalid': {
    category: 'validation',
    retry: false,
    says: 'A name is not made of plain lowercase segments; it could lead out of the folder and was refused.',
  },
  'storage.blob-missing': {
    category: 'resource',
    retry: false,
    says: 'The named blob does not exist.',
  },
  'storage.blob-exists': {
    category: 'resource',
    retry: false,
    says: 'A blob of this name exists with other content; blobs are written once.',
  },
  'storage.blob-not-plain': {
    category: 'security',
    retry: false,
    says: 'A link or special file stands where a blob or its folder should be; nothing was read or written.',
  },
  'storage.wraps-missing': {
    category: 'security',
    retry: false,
    says: 'The wraps of a data key are gone; what it encrypted cannot be read any more.',
  },
  'storage.wraps-malformed': {
    category: 'security',
    retry: false,
    says: 'The file with the wraps of a data key was changed or damaged.',
  },
  'storage.state-owned': {
    category: 'resource',
    retry: true,
    says: 'Another process owns this state folder; talk to it through its socket or stop it first.',
  },
  'storage.state-unsafe': {
    category: 'security',
    retry: false,
    says: 'The state folder is not a plain folder of this user, or others may enter it.',
  },
  'storage.database-newer': {
    category: 'resource',
    retry: false,
    says: 'The database was written by a newer version of the product; use that one.',
  },
  'storage.database-failed': {
    category: 'resource',
    retry: false,
    says: 'SQLite could not open, read or write the database; the cause says why.',
  },
  'storage.row-exists': {
    category: 'resource',
    retry: false,
    says: 'A row with this identity exists already.',
  },
  'storage.row-missing': {
    category: 'resource',
    retry: false,
    says: 'No row has this identity.',
  },
  'storage.row-malformed': {
    category: 'security',
    retry: false,
    says: 'A row holds text that this product does not write; the database was edited or damaged.',
  },
} as const satisfies ErrorCatalogue;

export type StorageErrorCode = keyof typeof STORAGE_ERRORS;

export class StorageError extends GuardianError {
  constructor(code: StorageErrorCode, message: string, options?: GuardianErrorOptions) {
    super(STORAGE_ERRORS, code, message, options);
  }
}
