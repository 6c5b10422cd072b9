import { join } from 'node:path';
import type { SignedCheckpoint } from './checkpoint.ts';
import { decodeEntry } from './entry.ts';
import { AuditError } from './errors.ts';
import { CompactRange, leafHash, treeRoot } from './merkle.ts';
import { framedEntries, readIfThere, storedHash, TILE_WIDTH, tilePath } from './tile-files.ts';

/** A hash that belongs into a tile and was not found there. */
export interface TileHash {
  readonly level: number;
  readonly index: number;
  readonly hash: Buffer;
}

/** What a scan found the log to be. */
export interface ScannedLog {
  readonly size: number;
  readonly range: CompactRange;
  /** The hashes of the unfinished tile of each level. */
  readonly levels: Buffer[][];
  /** Hashes not stored yet, all past the checkpoint. */
  readonly missing: readonly TileHash[];
  /** Length of the last bundle up to its last whole entry, and the bytes after it: a write that a crash cut off. */
  readonly bundleBytes: number;
  readonly tornBytes: number;
}

export interface ScanOptions {
  readonly folder: string;
  /** Its signature verified by the caller. */
  readonly checkpoint: SignedCheckpoint;
  /** A checkpoint that was kept elsewhere, its signature verified too. */
  readonly outside?: SignedCheckpoint;
  readonly onEntry?: (index: number, bytes: Buffer) => void;
}

/**
 * Reads a whole log and recomputes it: every entry against its stored hash, every stored hash of every level, the root
 * against the checkpoints. One bundle is in memory at a time.
 *
 * Up to the checkpoint nothing may be missing or differ. After it, entry and stored hash must agree where both are
 * there; since a hash is written only after its entry was synced, a hash without its entry means that entries were taken
 * away, and an entry without its hash is one that a crash left, kept if it is whole.
 */
export async function scanLog(options: ScanOptions): Promise<ScannedLog> {
  return new LogScan(options).run();
}

class LogScan {
  readonly #options: ScanOptions;
  readonly #range = new CompactRange();
  /** The same tree from the stored hashes, from the first that differs: tells a changed entry from a changed tile. */
  #stored: CompactRange | undefined;
  readonly #levels: Buffer[][] = [[]];
  /** Hashes seen on each level. */
  readonly #counts: number[] = [0];
  readonly #tiles: { index: number; bytes: Buffer | undefined }[] = [];
  readonly #missing: TileHash[] = [];
  #firstMismatch: number | undefined;
  #bundleBytes = 0;
  #tornBytes = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  async run(): Promise<ScannedLog> {
    const seen = await this.#lookAhead();
    this.#compareRoots();
    let bundle = 0;
    while (await this.#scanBundle(bundle)) bundle++;
    if (bundle < seen.bundle)
      throw truncated(`bundle ${bundle} ends early, and bundle ${seen.bundle} is there`);
    for (const [level, count] of seen.counts.entries()) {
      if (level === 0 || count <= (this.#counts[level] ?? 0)) continue;
      throw truncated(`level ${level} has ${count} hashes, more than the entries give`);
    }
    const size = this.#range.size;
    const { checkpoint, outside } = this.#options;
    if (this.#firstMismatch !== undefined) throw entryChanged(this.#firstMismatch);
    if (size < checkpoint.size) {
      if (this.#tornBytes > 0) throw entryChanged(size);
      throw truncated(`the checkpoint covers ${checkpoint.size} entries, found ${size}`);
    }
    if (outside !== undefined && size < outside.size) {
      const message = `the outside checkpoint covers ${outside.size} entries, the log holds ${size}`;
      throw new AuditError('audit.rolled-back', message);
    }
    return {
      size,
      range: this.#range,
      levels: this.#levels,
      missing: this.#missing,
      bundleBytes: this.#bundleBytes,
      tornBytes: this.#tornBytes,
    };
  }

  /** False at the end of the log. */
  async #scanBundle(bundle: number): Promise<boolean> {
    const { folder } = this.#options;
    // The tile first: whoever reads a log that is being written then never finds a hash without its entry.
    const tile = await readIfThere(join(folder, tilePath(0, bundle)));
    const bytes = await readIfThere(join(folder, tilePath('entries', bundle)));
    let slot = 0;
    let used = 0;
    for (const entry of bytes === undefined ? [] : framedEntries(bytes)) {
      if (!(await this.#take(entry, storedHash(tile, slot)))) break;
      slot++;
      used += 2 + entry.length;
    }
    const torn = (bytes?.length ?? 0) - used;
    if (slot === TILE_WIDTH) {
      if (torn > 0)
        throw entryChanged(this.#range.size, `${torn} bytes follow the last entry of a full bundle`);
      return true;
    }
    for (let after = slot; after < TILE_WIDTH; after++) {
      if (storedHash(tile, after) === undefined) continue;
      if (torn > 0) throw entryChanged(this.#firstMismatch ?? this.#range.size);
      throw truncated(`a hash is stored for entry ${bundle * TILE_WIDTH + after}, which is not there`);
    }
    this.#bundleBytes = used;
    this.#tornBytes = torn;
    return false;
  }

  /** Takes one entry into the trees; false where it is the torn end of the log. */
  async #take(entry: Buffer, stored: Buffer | undefined): Promise<boolean> {
    const index = this.#range.size;
    const isCovered = index < this.#options.checkpoint.size;
    const leaf = leafHash(entry);
    if (stored === undefined) {
      if (isCovered) throw tileMismatch(0, index, 'is missing');
      if (!isWhole(entry)) return false;
      this.#missing.push({ level: 0, index, hash: leaf });
    } else if (!stored.equals(leaf)) {
      if (!isCovered) throw entryChanged(index);
      this.#firstMismatch ??= index;
      this.#stored ??= this.#range.clone();
    }
    this.#stored?.append(stored ?? leaf);
    this.#range.append(leaf);
    if (this.#firstMismatch === undefined) this.#options.onEntry?.(index, entry);
    this.#compareRoots();
    await this.#climb(0, leaf);
    return true;
  }

  /** Adds a hash to a level's tile, and the tile's root to the level above when it is full. */
  async #climb(level: number, hash: Buffer): Promise<void> {
    this.#counts[level] = (this.#counts[level] ?? 0) + 1;
    this.#levels[level] ??= [];
    const tile = this.#levels[level];
    tile.push(hash);
    if (tile.length < TILE_WIDTH) return;
    this.#levels[level] = [];
    const root = treeRoot(tile);
    await this.#compareTile(level + 1, this.#counts[level + 1] ?? 0, root);
    await this.#climb(level + 1, root);
  }

  async #compareTile(level: number, index: number, hash: Buffer): Promise<void> {
    const stored = storedHash(await this.#tile(level, Math.floor(index / TILE_WIDTH)), index % TILE_WIDTH);
    if (stored === undefined) {
      if (TILE_WIDTH ** level * (index + 1) <= this.#options.checkpoint.size) {
        throw tileMismatch(level, index, 'is missing');
      }
      this.#missing.push({ level, index, hash });
    } else if (!stored.equals(hash) && this.#firstMismatch === undefined) {
      throw tileMismatch(level, index, 'does not fit the level below');
    }
  }

  async #tile(level: number, index: number): Promise<Buffer | undefined> {
    const held = this.#tiles[level];
    if (held?.index === index) return held.bytes;
    const bytes = await readIfThere(join(this.#options.folder, tilePath(level, index)));
    this.#tiles[level] = { index, bytes };
    return bytes;
  }

  #compareRoots(): void {
    const { checkpoint, outside } = this.#options;
    const size = this.#range.size;
    if (size === checkpoint.size) this.#compareToCheckpoint(checkpoint.root);
    if (size === outside?.size && this.#range.root().toString('base64') !== outside.root) {
      const message = `the first ${size} entries are not those that the outside checkpoint covers`;
      throw new AuditError('audit.rolled-back', message);
    }
  }

  #compareToCheckpoint(root: string): void {
    const isSigned = this.#range.root().toString('base64') === root;
    if (isSigned && this.#firstMismatch === undefined) return;
    if (isSigned) throw tileMismatch(0, this.#firstMismatch ?? 0, 'does not fit its entry');
    if (this.#stored?.root().toString('base64') === root) throw entryChanged(this.#firstMismatch ?? 0);
    const message = `the first ${this.#range.size} entries do not give the root that was signed`;
    throw new AuditError('audit.root-mismatch', message);
  }

  /**
   * How far the files reach: the last bundle that holds anything, and the hashes stored on each level from 1 up. Looked
   * at before the entries are read, so that a log that grows meanwhile is never taken for one that was cut.
   */
  async #lookAhead(): Promise<{ bundle: number; counts: number[] }> {
    const { folder, checkpoint } = this.#options;
    let bundle = Math.floor(checkpoint.size / TILE_WIDTH);
    while ((await holdsBytes(folder, 'entries', bundle + 1)) || (await holdsBytes(folder, 0, bundle + 1)))
      bundle++;
    const counts = [0];
    for (let level = 1; ; level++) {
      let index = Math.floor(checkpoint.size / TILE_WIDTH ** (level + 1));
      let count = 0;
      for (;;) {
        const tile = await readIfThere(join(folder, tilePath(level, index)));
        if (tile === undefined) break;
        for (let slot = 0; slot < TILE_WIDTH; slot++) {
          if (storedHash(tile, slot) !== undefined) count = index * TILE_WIDTH + slot + 1;
        }
        index++;
      }
      counts.push(count);
      if (count === 0 && checkpoint.size < TILE_WIDTH ** level) return { bundle, counts };
    }
  }
}

async function holdsBytes(folder: string, level: number | 'entries', index: number): Promise<boolean> {
  const bytes = await readIfThere(join(folder, tilePath(level, index)));
  return bytes?.some((byte) => byte !== 0) ?? false;
}

function isWhole(entry: Buffer): boolean {
  try {
    decodeEntry(entry);
    return true;
  } catch {
    return false;
  }
}

function entryChanged(
  index: number,
  what = 'it is not what its stored hash and the checkpoint say',
): AuditError {
  return new AuditError('audit.entry-changed', `entry ${index} was changed: ${what}`);
}

function truncated(what: string): AuditError {
  return new AuditError('audit.truncated', `entries were taken away: ${what}`);
}

function tileMismatch(level: number, index: number, what: string): AuditError {
  return new AuditError('audit.tile-mismatch', `the stored hash ${index} of level ${level} ${what}`);
}
