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
    says: 'The database could not be opened, read or written; the cause says why.',
  },
  'storage.database-away': {
    category: 'resource',
    retry: true,
    says: 'SQLite cannot use its file for now: the disk fails, or another process holds a lock on it. Nothing was changed.',
  },
  'storage.disk-full': {
    category: 'resource',
    retry: true,
    says: 'There is no room on the disk for the database; nothing was changed. Make room: it goes on by itself.',
  },
  'storage.database-unreachable': {
    category: 'resource',
    retry: true,
    says: 'PostgreSQL does not answer, or ended the connection.',
  },
  'storage.database-refused': {
    category: 'security',
    retry: false,
    says: 'PostgreSQL refused the user or the password, or cannot show the certificate that its name demands.',
  },
  'storage.password-unsafe': {
    category: 'security',
    retry: false,
    says: 'The file with the password of PostgreSQL is missing, empty, too long, or readable by others than its owner.',
  },
  'storage.migration-loses-rows': {
    category: 'resource',
    retry: false,
    says: 'Taking the tables back would drop rows; nothing was changed.',
  },
  'storage.writer-leased': {
    category: 'resource',
    retry: true,
    says: 'Another server holds the lease of the one writer; this one may take over when that ends.',
  },
  'storage.fenced': {
    category: 'resource',
    retry: false,
    says: 'Another server took over as the one writer; this one changes nothing any more and is to be restarted.',
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
  'storage.zfs-unavailable': {
    category: 'resource',
    retry: false,
    says: 'The zfs or zpool program, or the kernel module behind it, is missing; install OpenZFS and load it.',
  },
  'storage.zfs-denied': {
    category: 'resource',
    retry: false,
    says: 'ZFS refused this user; mounting needs root, and other operations can be delegated with zfs allow.',
  },
  'storage.zfs-dataset-missing': {
    category: 'resource',
    retry: false,
    says: 'The named pool, dataset, snapshot or bookmark does not exist.',
  },
  'storage.zfs-dataset-exists': {
    category: 'resource',
    retry: false,
    says: 'A dataset, snapshot, bookmark or hold of this name exists already.',
  },
  'storage.zfs-busy': {
    category: 'resource',
    retry: false,
    says: 'ZFS keeps it: a snapshot is held by a promotion, or a file of the dataset is open.',
  },
  'storage.zfs-key-wrong': {
    category: 'security',
    retry: false,
    says: 'The given key is not the one of the encrypted dataset; nothing was mounted.',
  },
  'storage.zfs-key-unloaded': {
    category: 'security',
    retry: false,
    says: 'The key of the encrypted dataset is not loaded; nothing was read or written.',
  },
  'storage.zfs-not-mounted': {
    category: 'security',
    retry: false,
    says: 'The dataset is not mounted where it should be; nothing was written to the folder in its place.',
  },
  'storage.zfs-unfit': {
    category: 'security',
    retry: false,
    says: 'The dataset exists and is not a registry: it is not encrypted with aes-256-gcm under a key of its own.',
  },
  'storage.zfs-snapshot-differs': {
    category: 'security',
    retry: false,
    says: 'A snapshot of this promotion exists and names another digest.',
  },
  'storage.zfs-replica-diverged': {
    category: 'resource',
    retry: false,
    says: 'The replica has no snapshot in common with the source; replicate into a new dataset.',
  },
  'storage.zfs-output-unexpected': {
    category: 'resource',
    retry: false,
    says: 'A ZFS program answered in a form that this version does not know.',
  },
  'storage.zfs-failed': {
    category: 'resource',
    retry: false,
    says: 'A ZFS program ended with an error; the message holds what it said.',
  },
} as const satisfies ErrorCatalogue;

export type StorageErrorCode = keyof typeof STORAGE_ERRORS;

export class StorageError extends GuardianError {
  constructor(code: StorageErrorCode, message: string, options?: GuardianErrorOptions) {
    super(STORAGE_ERRORS, code, message, options);
  }
}

const AWAY: ReadonlySet<string> = new Set([
  'storage.database-away',
  'storage.disk-full',
  'storage.database-unreachable',
] satisfies StorageErrorCode[]);

/** Whether an error is that the database cannot be asked for now; and not that something is wrong in it. */
export function isDatabaseAway(error: unknown): boolean {
  return error instanceof StorageError && AWAY.has(error.code);
}

/** Whether an error is that this process is not the writer any more, or cannot know; and not that something is wrong. */
export function isWriterAway(error: unknown): boolean {
  return (
    error instanceof StorageError &&
    (error.code === 'storage.fenced' || error.code === 'storage.database-unreachable')
  );
}
