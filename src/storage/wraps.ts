import { join } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import { canonicalJson, parseCanonicalJson, parseWrapSet, type WrapSet } from '../crypto/index.ts';
import { type BlobStore, openDirectoryBlobStore } from './blob-store.ts';
import { StorageError } from './errors.ts';

/**
 * The wraps of every data key, one small file each in a folder of its own. They stay out of snapshots and backups:
 * a copy kept there would undo an erase.
 */
export interface WrapStore {
  /** Durable when resolved. Throws `storage.blob-exists` where other wraps of that data key are there. */
  put(wraps: WrapSet): Promise<void>;
  /** Puts other wraps in the place of those that are there: whole or not at all, durable when resolved. Throws `storage.wraps-missing`. */
  replace(wraps: WrapSet): Promise<void>;
  /** Throws `storage.wraps-missing` and `storage.wraps-malformed`, both of category security. */
  get(dataKeyId: string): Promise<WrapSet>;
  has(dataKeyId: string): Promise<boolean>;
  /** Durable when resolved; what the key encrypted is unreadable from then on. */
  delete(dataKeyId: string): Promise<void>;
  list(): Promise<readonly string[]>;
}

/** Opens (and makes, mode 0700) the folder. */
export async function openWrapStore(folder: string): Promise<WrapStore> {
  return new FolderWrapStore(folder, await openDirectoryBlobStore(folder));
}

class FolderWrapStore implements WrapStore {
  readonly #folder: string;
  readonly #files: BlobStore;

  constructor(folder: string, files: BlobStore) {
    this.#folder = folder;
    this.#files = files;
  }

  async put(wraps: WrapSet): Promise<void> {
    await this.#files.put(fileName(wraps.dataKeyId), Buffer.from(canonicalJson(wraps)));
  }

  async get(dataKeyId: string): Promise<WrapSet> {
    const name = fileName(dataKeyId);
    if (!(await this.#files.has(name))) {
      throw new StorageError('storage.wraps-missing', `no wraps are kept for the data key ${dataKeyId}`);
    }
    return readWraps(await this.#files.get(name), dataKeyId);
  }

  async replace(wraps: WrapSet): Promise<void> {
    const name = fileName(wraps.dataKeyId);
    if (!(await this.#files.has(name))) {
      throw new StorageError(
        'storage.wraps-missing',
        `no wraps are kept for the data key ${wraps.dataKeyId}`,
      );
    }
    await writeFileAtomic(join(this.#folder, name), canonicalJson(wraps));
  }

  async has(dataKeyId: string): Promise<boolean> {
    return await this.#files.has(fileName(dataKeyId));
  }

  async delete(dataKeyId: string): Promise<void> {
    await this.#files.delete(fileName(dataKeyId));
  }

  async list(): Promise<readonly string[]> {
    return (await this.#files.list('')).map((name) => name.replace(/\.json$/, ''));
  }
}

const DATA_KEY_ID = /^[a-z0-9][a-z0-9-]{0,63}$/;

function fileName(dataKeyId: string): string {
  if (!DATA_KEY_ID.test(dataKeyId)) {
    throw new StorageError(
      'storage.name-invalid',
      'expected a data key id of lowercase letters, digits and dashes',
    );
  }
  return `${dataKeyId}.json`;
}

/** Accepts only the bytes that `put` writes, so that no change of the file goes unseen. */
function readWraps(bytes: Uint8Array, dataKeyId: string): WrapSet {
  let wraps: WrapSet;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    wraps = parseWrapSet(text);
    parseCanonicalJson(text);
  } catch (cause) {
    throw new StorageError('storage.wraps-malformed', `the wraps of ${dataKeyId} do not parse`, { cause });
  }
  if (wraps.dataKeyId !== dataKeyId) {
    throw new StorageError('storage.wraps-malformed', `the wraps of ${dataKeyId} name another data key`);
  }
  return wraps;
}
