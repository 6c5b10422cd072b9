import { join } from 'node:path';
import type { SignedCheckpoint } from './checkpoint.ts';
import { decodeEntry } from './entry.ts';
import { AuditError } from './errors.ts';
import { CompactRange, HASH_BYTES, leafHash, perfectRoot, treeRoot } from './merkle.ts';
import type { ResumedTree } from './resume-point.ts';
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
  /** Checkpoints that were kept elsewhere, their signatures verified too. */
  readonly outside?: readonly SignedCheckpoint[];
  /** Where to begin: the tree over all before, whose root a trusted key signed. The beginning of the log by default. */
  readonly start?: ResumedTree;
  readonly onEntry?: (index: number, bytes: Buffer) => void;
  /** After each full bundle, with the tree so far. */
  readonly onBundle?: (range: CompactRange) => void;
}

/**
 * Reads a log and recomputes it: every entry against its stored hash, every stored hash of every level, the root
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
  readonly #range: CompactRange;
  /** The same tree from the stored hashes, from the first that differs: tells a changed entry from a changed tile. */
  #stored: CompactRange | undefined;
  readonly #levels: Buffer[][];
  /** Hashes seen on each level. */
  readonly #counts: number[];
  /** The files of the bundle after the one at hand, where the checkpoint covers both. */
  #ahead: { readonly bundle: number; readonly files: Promise<BundleFiles> } | undefined;
  readonly #tiles: { index: number; bytes: Buffer | undefined }[] = [];
  readonly #missing: TileHash[] = [];
  #firstMismatch: number | undefined;
  #bundleBytes = 0;
  #tornBytes = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
    const { range, levels } = options.start ?? { range: new CompactRange(), levels: [[]] };
    this.#range = range;
    this.#levels = levels;
    this.#counts = levels.map((_, level) => Math.floor(range.size / TILE_WIDTH ** level));
  }

  async run(): Promise<ScannedLog> {
    const seen = await this.#lookAhead();
    this.#compareRoots();
    let bundle = this.#range.size / TILE_WIDTH;
    while (await this.#scanBundle(bundle)) {
      this.#options.onBundle?.(this.#range);
      bundle++;
    }
    if (bundle < seen.bundle)
      throw truncated(`bundle ${bundle} ends early, and bundle ${seen.bundle} is there`);
    for (const [level, count] of seen.counts.entries()) {
      if (level === 0 || count <= (this.#counts[level] ?? 0)) continue;
      throw truncated(`level ${level} has ${count} hashes, more than the entries give`);
    }
    const size = this.#range.size;
    const { checkpoint, outside = [] } = this.#options;
    if (this.#firstMismatch !== undefined) throw entryChanged(this.#firstMismatch);
    if (size < checkpoint.size) {
      if (this.#tornBytes > 0) throw entryChanged(size);
      throw truncated(`the checkpoint covers ${checkpoint.size} entries, found ${size}`);
    }
    const longer = outside.find((each) => size < each.size);
    if (longer !== undefined) {
      const message = `the outside checkpoint covers ${longer.size} entries, the log holds ${size}`;
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
    const { tile, bytes } = await this.#read(bundle);
    if (await this.#takeWhole(tile, bytes)) return true;
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

  /** The files of a bundle; those of the next are read while this one is hashed. */
  async #read(bundle: number): Promise<BundleFiles> {
    const { folder, checkpoint } = this.#options;
    const files = this.#ahead?.bundle === bundle ? this.#ahead.files : readBundle(folder, bundle);
    this.#ahead = undefined;
    if ((bundle + 2) * TILE_WIDTH <= checkpoint.size) {
      const next = readBundle(folder, bundle + 1);
      // Should the scan end before, nobody asks for them.
      next.catch(() => {});
      this.#ahead = { bundle: bundle + 1, files: next };
    }
    return files;
  }

  /**
   * Takes a full bundle that fits its full tile, far from any signed size, in one go. False where anything is
   * otherwise: nothing was taken then, and going entry by entry finds out what it is.
   */
  async #takeWhole(tile: Buffer | undefined, bytes: Buffer | undefined): Promise<boolean> {
    const { checkpoint, outside = [], onEntry } = this.#options;
    const first = this.#range.size;
    const end = first + TILE_WIDTH;
    if (this.#firstMismatch !== undefined || end > checkpoint.size) return false;
    if (outside.some((each) => each.size > first && each.size < end)) return false;
    if (bytes === undefined || tile?.length !== TILE_WIDTH * HASH_BYTES) return false;
    const entries = [...framedEntries(bytes)];
    const used = entries.reduce((sum, { length }) => sum + 2 + length, 0);
    if (entries.length !== TILE_WIDTH || used !== bytes.length) return false;
    if (!entries.every((entry, slot) => leafHash(entry).equals(slotOf(tile, slot)))) return false;
    const root = perfectRoot(tile);
    this.#range.appendSubtree(root, TILE_WIDTH);
    this.#counts[0] = (this.#counts[0] ?? 0) + TILE_WIDTH;
    for (const [slot, entry] of entries.entries()) onEntry?.(first + slot, entry);
    this.#compareRoots();
    await this.#compareTile(1, this.#counts[1] ?? 0, root);
    await this.#climb(1, root);
    return true;
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
    const { checkpoint, outside = [] } = this.#options;
    const size = this.#range.size;
    if (size === checkpoint.size) this.#compareToCheckpoint(checkpoint.root);
    for (const each of outside) {
      if (size !== each.size || this.#range.root().toString('base64') === each.root) continue;
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

interface BundleFiles {
  readonly tile: Buffer | undefined;
  readonly bytes: Buffer | undefined;
}

/** The tile first: whoever reads a log that is being written then never finds a hash without its entry. */
async function readBundle(folder: string, bundle: number): Promise<BundleFiles> {
  const tile = await readIfThere(join(folder, tilePath(0, bundle)));
  return { tile, bytes: await readIfThere(join(folder, tilePath('entries', bundle))) };
}

function slotOf(tile: Buffer, slot: number): Buffer {
  return tile.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
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
