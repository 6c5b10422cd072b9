import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { faultPoint, isDiskFull, syncFolder } from '../base/index.ts';
import { AuditError } from './errors.ts';
import { HASH_BYTES } from './merkle.ts';
import type { TileHash } from './scan-log.ts';
import { TILE_WIDTH, tilePath } from './tile-files.ts';

/** The files that a writer has open: the last bundle and the last tile of each level. */
export class LogFiles {
  readonly #folder: string;
  #bundle: { readonly index: number; readonly file: FileHandle; length: number } | undefined;
  readonly #tiles = new Map<
    number,
    { readonly index: number; readonly file: FileHandle; isDirty: boolean }
  >();

  constructor(folder: string) {
    this.#folder = resolve(folder);
  }

  /** Goes on after `length` bytes of a bundle; what a crash left behind them is cut off, durably. */
  async resumeBundle(index: number, length: number): Promise<void> {
    const bundle = await this.#openBundle(index);
    const { size } = await bundle.file.stat();
    if (size > length) {
      await bundle.file.truncate(length);
      await bundle.file.sync();
    }
    bundle.length = length;
  }

  /**
   * Writes framed entries at the end of a bundle and syncs them. A write that fails is taken back and throws
   * `audit.append-failed`; where it is unknown what the disk holds, `audit.broken`.
   */
  async appendEntries(index: number, bytes: Buffer): Promise<void> {
    faultPoint('audit.entries.before-write');
    const bundle = await this.#openBundle(index).catch((cause: unknown) => {
      throw new AuditError('audit.append-failed', 'the audit log could not be opened for writing', { cause });
    });
    const { size } = await bundle.file.stat();
    if (size !== bundle.length) {
      const message = `expected ${bundle.length} bytes in ${tilePath('entries', index)}, found ${size}`;
      throw new AuditError('audit.foreign-write', message, { fatal: true });
    }
    try {
      await writeAt(bundle.file, bytes, bundle.length);
      faultPoint('audit.entries.after-write');
    } catch (cause) {
      await takeBack(bundle.file, bundle.length, cause);
      throw new AuditError('audit.append-failed', 'the audit log could not be written', { cause });
    }
    try {
      await bundle.file.datasync();
      faultPoint('audit.entries.after-sync');
    } catch (cause) {
      throw broken('the audit log could not be synced', cause);
    }
    bundle.length += bytes.length;
  }

  /**
   * Writes hashes into their tiles. They are synced with the next checkpoint: until then the entries can give them again.
   * Throws `audit.append-failed` where there is no room: the same hashes may be written again.
   */
  async writeHashes(hashes: readonly TileHash[]): Promise<void> {
    for (let i = 0; i < hashes.length; ) {
      const { level, index } = hashes[i]!;
      const run = [hashes[i]!.hash];
      // Neighbours of one tile go in one write.
      for (let next = i + 1; next < hashes.length; next++) {
        const { level: nextLevel, index: nextIndex, hash } = hashes[next]!;
        if (nextLevel !== level || nextIndex !== index + run.length || nextIndex % TILE_WIDTH === 0) break;
        run.push(hash);
      }
      const tile = await this.#openTile(level, Math.floor(index / TILE_WIDTH));
      await writeAt(tile.file, Buffer.concat(run), (index % TILE_WIDTH) * HASH_BYTES).catch(noRoom);
      tile.isDirty = true;
      i += run.length;
    }
    faultPoint('audit.tiles.after-write');
  }

  async syncTiles(): Promise<void> {
    for (const tile of this.#tiles.values()) {
      if (tile.isDirty) await tile.file.datasync();
      tile.isDirty = false;
    }
    faultPoint('audit.tiles.after-sync');
  }

  async close(): Promise<void> {
    await this.#bundle?.file.close();
    this.#bundle = undefined;
    for (const { file } of this.#tiles.values()) await file.close();
    this.#tiles.clear();
  }

  async #openBundle(index: number) {
    if (this.#bundle?.index === index) return this.#bundle;
    await this.#bundle?.file.close();
    this.#bundle = undefined;
    const file = await openFile(this.#folder, tilePath('entries', index));
    faultPoint('audit.entries.after-create');
    this.#bundle = { index, file, length: 0 };
    return this.#bundle;
  }

  async #openTile(level: number, index: number) {
    const held = this.#tiles.get(level);
    if (held?.index === index) return held;
    if (held?.isDirty) await held.file.datasync();
    await held?.file.close();
    this.#tiles.delete(level);
    const file = await openFile(this.#folder, tilePath(level, index)).catch(noRoom);
    const tile = { index, file, isDirty: false };
    this.#tiles.set(level, tile);
    return tile;
  }
}

/** Opens a file for reading and writing, and makes it where there is none. */
async function openFile(root: string, path: string): Promise<FileHandle> {
  const folder = dirname(join(root, path));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = await open(join(root, path), constants.O_RDWR | constants.O_CREAT, 0o600);
  const { size } = await file.stat();
  if (size > 0) return file;
  // Also where the file was found: whoever made it may have died before its folders were synced.
  for (let at = folder; ; at = dirname(at)) {
    await syncFolder(at);
    if (at.length <= root.length) return file;
  }
}

async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** A write that found no room may be made again; a sync that failed may not. */
function noRoom(cause: unknown): never {
  if (!isDiskFull(cause)) throw cause;
  throw new AuditError('audit.append-failed', 'there is no room for the hashes of the audit log', { cause });
}

async function takeBack(file: FileHandle, length: number, cause: unknown): Promise<void> {
  await file.truncate(length).catch(() => {
    throw broken('the audit log could not be written, nor the failed write be taken back', cause);
  });
}

function broken(message: string, cause: unknown): AuditError {
  return new AuditError('audit.broken', message, { cause, fatal: true });
}
