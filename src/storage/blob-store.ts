import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, faultPoint, syncFolder, writeFileAtomic } from '../base/index.ts';
import { StorageError } from './errors.ts';
import type { ZfsHealth } from './zfs-health.ts';

/**
 * Whole files under names of one or more segments, such as `models/flow/1.0.0/manifest.json`.
 * Every method throws `storage.name-invalid` for a name that is not plain and `storage.blob-not-plain` where a
 * link or special file stands in the way.
 */
export interface BlobStore {
  /** What it really is; a folder is never called ZFS. */
  readonly kind: 'directory' | 'zfs';
  /**
   * Durable when resolved; after a crash the blob is there whole or not at all. Writing the same bytes again does
   * nothing; other bytes throw `storage.blob-exists`. The bytes stay the caller's.
   */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** A fresh copy that the caller owns; throws `storage.blob-missing`. */
  get(name: string): Promise<Uint8Array>;
  has(name: string): Promise<boolean>;
  /** Durable when resolved; a name that does not exist is no error. Folders left empty go too. */
  delete(name: string): Promise<void>;
  /** Sorted names at or below `prefix`, which ends at a segment's border; `''` lists everything. */
  list(prefix: string): Promise<readonly string[]>;
  /**
   * Told before an alias moves to a version. A ZFS store snapshots and holds the model's dataset, durably when resolved;
   * a directory does nothing. May be repeated. Throws `storage.zfs-*`.
   */
  onPromotion(promotion: Promotion): Promise<void>;
  /** How what it stands on is. Throws `storage.zfs-*`. */
  health(): Promise<StorageHealth>;
}

/** A directory knows nothing of its disk; the monitor watches how full that is. */
export type StorageHealth = { readonly kind: 'directory' } | ({ readonly kind: 'zfs' } & ZfsHealth);

/** A model's version that an alias is about to point at. */
export interface Promotion {
  readonly name: string;
  readonly version: string;
  /** Digest of the weights in clear. */
  readonly digest: Digest;
}

/** Opens (and makes, mode 0700) the folder; removes temporary files that a crash left behind. */
export async function openDirectoryBlobStore(folder: string): Promise<BlobStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await removeTemporaries(folder);
  return new DirectoryBlobStore(folder);
}

const NAME = /^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._-]*)*$/;
const MAX_NAME_LENGTH = 512;

/** Throws `storage.name-invalid` unless the name is plain segments; the name itself is not echoed unescaped. */
export function checkBlobName(name: string): void {
  if (name.length > MAX_NAME_LENGTH || !NAME.test(name) || name.includes('..')) {
    throw new StorageError(
      'storage.name-invalid',
      `expected lowercase segments of letters, digits, dot, dash and underscore, got ${JSON.stringify(name.slice(0, 80))}`,
    );
  }
}

class DirectoryBlobStore implements BlobStore {
  readonly kind = 'directory';
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    checkBlobName(name);
    const held = await this.#read(name);
    if (held !== undefined) {
      if (Buffer.compare(held, bytes) === 0) return;
      throw new StorageError('storage.blob-exists', `${name} exists with other content`);
    }
    await this.#makeFolders(name);
    await writeFileAtomic(join(this.#root, name), bytes);
  }

  async get(name: string): Promise<Uint8Array> {
    checkBlobName(name);
    const bytes = await this.#read(name);
    if (bytes === undefined) throw new StorageError('storage.blob-missing', `no blob is named ${name}`);
    return bytes;
  }

  async has(name: string): Promise<boolean> {
    checkBlobName(name);
    return (await this.#kindOf(name)) === 'file';
  }

  async delete(name: string): Promise<void> {
    checkBlobName(name);
    if ((await this.#kindOf(name)) !== 'file') return;
    await rm(join(this.#root, name));
    faultPoint('storage.blob.after-delete');
    await syncFolder(dirname(join(this.#root, name)));
    await this.#removeEmptyFolders(dirname(name));
  }

  async list(prefix: string): Promise<readonly string[]> {
    if (prefix === '') return (await this.#walk('')).sort();
    checkBlobName(prefix);
    const kind = await this.#kindOf(prefix);
    if (kind === 'file') return [prefix];
    return kind === 'folder' ? (await this.#walk(prefix)).sort() : [];
  }

  async onPromotion(): Promise<void> {}

  async health(): Promise<StorageHealth> {
    return { kind: 'directory' };
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    if ((await this.#kindOf(name)) !== 'file') return undefined;
    // A link that appears between the check and this call still fails here.
    const handle = await open(join(this.#root, name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
    try {
      return new Uint8Array(await handle.readFile());
    } finally {
      await handle.close();
    }
  }

  /** What stands at the name; refuses links and special files in every segment. */
  async #kindOf(name: string): Promise<'file' | 'folder' | undefined> {
    let path = this.#root;
    const segments = name.split('/');
    for (const [i, segment] of segments.entries()) {
      path = join(path, segment);
      const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
      if (found === undefined) return undefined;
      if (found.isDirectory()) continue;
      if (!found.isFile()) refuseSpecial(segments.slice(0, i + 1).join('/'));
      return i === segments.length - 1 ? 'file' : undefined;
    }
    return 'folder';
  }

  async #makeFolders(name: string): Promise<void> {
    let path = this.#root;
    for (const segment of name.split('/').slice(0, -1)) {
      const parent = path;
      path = join(path, segment);
      try {
        await mkdir(path, { mode: 0o700 });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        continue;
      }
      await syncFolder(parent);
    }
  }

  async #removeEmptyFolders(name: string): Promise<void> {
    for (let folder = name; folder !== '.'; folder = dirname(folder)) {
      try {
        await rmdir(join(this.#root, folder));
      } catch {
        return;
      }
      await syncFolder(dirname(join(this.#root, folder)));
    }
  }

  async #walk(folder: string): Promise<string[]> {
    const names: string[] = [];
    for (const entry of await readdir(join(this.#root, folder), { withFileTypes: true })) {
      if (entry.name.startsWith('.tmp-')) continue;
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) names.push(...(await this.#walk(name)));
      else if (entry.isFile()) names.push(name);
      else refuseSpecial(name);
    }
    return names;
  }
}

function refuseSpecial(name: string): never {
  throw new StorageError(
    'storage.blob-not-plain',
    `expected a plain file or folder at ${JSON.stringify(name)}`,
  );
}

async function removeTemporaries(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await removeTemporaries(path);
    else if (entry.isFile() && entry.name.startsWith('.tmp-')) await rm(path, { force: true });
  }
}
