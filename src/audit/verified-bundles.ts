import { join } from 'node:path';
import { AuditError } from './errors.ts';
import { HASH_BYTES, leafHash, perfectRoot } from './merkle.ts';
import { framedEntries, readIfThere, storedHash, TILE_WIDTH, tilePath } from './tile-files.ts';

/** Bundles kept after they were read and verified: what walks back and forth reads the same few. */
const HELD_BUNDLES = 8;

/**
 * Reads entries of a log that is open, and holds them against what its writer knows: the hashes at the right edge of
 * each level, which lead to the signed root. Reading a bundle of a log of n entries costs 511 hashes, and 255 more
 * for each level of tiles that was not read just before.
 */
export class VerifiedBundles {
  readonly #folder: string;
  /** The hashes of the unfinished tile of each level; the writer's own, which grow. */
  readonly #levels: readonly Buffer[][];
  readonly #held = new Map<number, readonly Buffer[]>();
  /** The last full tile of each level that was verified. */
  readonly #tiles: { readonly index: number; readonly bytes: Buffer }[] = [];

  constructor(folder: string, levels: readonly Buffer[][]) {
    this.#folder = folder;
    this.#levels = levels;
  }

  /**
   * The entries of a bundle; undefined in the place of one that is not what was logged, and fewer where the rest is
   * gone. Throws `audit.tile-mismatch` where the stored hashes cannot tell.
   */
  async read(bundle: number): Promise<readonly (Buffer | undefined)[]> {
    const held = this.#held.get(bundle);
    if (held !== undefined) return held;
    // Both of this moment, before anything awaits: the writer starts a new list for a new tile.
    const edge = this.#levels[0] ?? [];
    const isFull = this.#isFull(0, bundle);
    const count = isFull ? TILE_WIDTH : edge.length;
    const bytes = (await readIfThere(join(this.#folder, tilePath('entries', bundle)))) ?? Buffer.alloc(0);
    const entries = [...framedEntries(bytes)].slice(0, count);
    const leaves = entries.map(leafHash);
    if (isFull && (await this.#isWhole(bundle, leaves))) {
      this.#hold(bundle, entries);
      return entries;
    }
    const known = isFull ? await this.#tile(0, bundle) : Buffer.concat(edge);
    return entries.map((entry, slot) =>
      storedHash(known, slot)?.equals(leaves[slot]!) === true ? entry : undefined,
    );
  }

  async #isWhole(bundle: number, leaves: readonly Buffer[]): Promise<boolean> {
    if (leaves.length !== TILE_WIDTH) return false;
    return perfectRoot(Buffer.concat(leaves)).equals(await this.#hash(1, bundle));
  }

  /** A hash of the tree as the signed root has it. */
  async #hash(level: number, index: number): Promise<Buffer> {
    const tile = Math.floor(index / TILE_WIDTH);
    const slot = index % TILE_WIDTH;
    const bytes = await this.#tile(level, tile);
    if (bytes !== undefined) return bytes.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
    const own = this.#levels[level]?.[slot];
    if (own === undefined)
      throw new AuditError('audit.tile-mismatch', `hash ${index} of level ${level} is gone`);
    return own;
  }

  /** A full tile, verified against the levels above; undefined for the unfinished one that the writer holds. */
  async #tile(level: number, index: number): Promise<Buffer | undefined> {
    const held = this.#tiles[level];
    if (held?.index === index) return held.bytes;
    if (!this.#isFull(level, index)) return undefined;
    const bytes = await this.#stored(level, index);
    if (
      bytes?.length !== TILE_WIDTH * HASH_BYTES ||
      !perfectRoot(bytes).equals(await this.#hash(level + 1, index))
    ) {
      throw new AuditError(
        'audit.tile-mismatch',
        `tile ${index} of level ${level} does not lead to the signed root`,
      );
    }
    this.#tiles[level] = { index, bytes };
    return bytes;
  }

  /** Whether the tile's root stands on the level above, as the writer's right edge tells. */
  #isFull(level: number, index: number): boolean {
    let tiles = 0;
    for (let above = this.#levels.length - 1; above > level; above--) {
      tiles = tiles * TILE_WIDTH + (this.#levels[above]?.length ?? 0);
    }
    return index < tiles;
  }

  #stored(level: number, index: number): Promise<Buffer | undefined> {
    return readIfThere(join(this.#folder, tilePath(level, index)));
  }

  #hold(bundle: number, entries: readonly Buffer[]): void {
    this.#held.set(bundle, entries);
    if (this.#held.size > HELD_BUNDLES) this.#held.delete(this.#held.keys().next().value ?? bundle);
  }
}
