import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { ensureUnlockFile, SecretBuffer } from '../crypto/index.ts';
import { type BlobStore, openDirectoryBlobStore } from './blob-store.ts';
import { StorageError } from './errors.ts';
import { openZfsBlobStore, type ZfsBlobStore } from './zfs-blob-store.ts';
import type { ZfsRunner } from './zfs-runner.ts';

export interface ConfiguredBlobs {
  /** `directory`, or `zfs:pool/registry`. */
  readonly blobs: string;
  /** The folder that holds the blobs, and where a new dataset is mounted. */
  readonly folder: string;
  /** 32 random bytes, the raw key of the dataset; made (mode 0600) where there is none. Not used for a directory. */
  readonly keyFile: string;
  readonly runner?: ZfsRunner;
  readonly isMounted?: (path: string) => Promise<boolean>;
}

const ZFS = 'zfs:';
const KEY_BYTES = 32;

/** Opens the kind of store that is configured. Throws `storage.zfs-*`, and `storage.zfs-key-wrong` for an exposed or short key file. */
export async function openConfiguredBlobs(options: ConfiguredBlobs): Promise<BlobStore | ZfsBlobStore> {
  const { blobs, folder, keyFile, runner, isMounted } = options;
  if (!blobs.startsWith(ZFS)) return await openDirectoryBlobStore(folder);
  const dataset = blobs.slice(ZFS.length);
  await ensureUnlockFile(keyFile);
  const key = await readKey(keyFile);
  try {
    const given = { ...(runner && { runner }), ...(isMounted && { isMounted }) };
    return await openZfsBlobStore({ dataset, key, mountpoint: folder, ...given });
  } finally {
    key.wipe();
  }
}

async function readKey(path: string): Promise<SecretBuffer> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0 || size !== KEY_BYTES) {
      throw new StorageError(
        'storage.zfs-key-wrong',
        `expected ${KEY_BYTES} bytes of mode 600 in ${path}, got ${size} of ${(mode & 0o777).toString(8)}`,
      );
    }
    return SecretBuffer.from(await file.readFile());
  } finally {
    await file.close();
  }
}
