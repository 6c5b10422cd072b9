import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AuditError } from './errors.ts';
import { HASH_BYTES, nodeHash, splitPoint, treeRoot } from './merkle.ts';

/** Entries in a bundle and hashes in a tile (C2SP tlog-tiles, height 8). */
export const TILE_WIDTH = 256;

/**
 * Where a tile or, with level `entries`, a bundle lies under the log's folder: the index in groups of three
 * digits, every group but the last led by an x (1234067 is `x001/x234/067`). A last, partial one grows in place.
 */
export function tilePath(level: number | 'entries', index: number): string {
  let rest = Math.floor(index / 1000);
  let path = String(index % 1000).padStart(3, '0');
  for (; rest > 0; rest = Math.floor(rest / 1000))
    path = join(`x${String(rest % 1000).padStart(3, '0')}`, path);
  return join('tile', String(level), path);
}

/** Puts the 16-bit big-endian length before an entry. */
export function frameEntry(entry: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(2 + entry.length);
  framed.writeUInt16BE(entry.length);
  framed.set(entry, 2);
  return framed;
}

/** The entries of a bundle, at most 256, up to the first that is cut off or empty; views into `bundle`. */
export function* framedEntries(bundle: Buffer): Generator<Buffer> {
  let at = 0;
  for (let count = 0; count < TILE_WIDTH && at + 2 <= bundle.length; count++) {
    const length = bundle.readUInt16BE(at);
    if (length === 0 || at + 2 + length > bundle.length) return;
    yield bundle.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
}

/** A whole file, or nothing where it does not exist. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/**
 * The stored hash in a slot of a tile. Nothing where the slot was not written; one of zeros counts as that,
 * since a file system may give zeros for what a power loss took.
 */
export function storedHash(tile: Buffer | undefined, slot: number): Buffer | undefined {
  const bytes = tile?.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
  return bytes?.length === HASH_BYTES && bytes.some((byte) => byte !== 0) ? bytes : undefined;
}

/** The root over entries `from` to `to` (exclusive), which must be a node of the tree or its ragged right edge. */
export async function rangeRoot(folder: string, from: number, to: number): Promise<Buffer> {
  const count = to - from;
  if (count > 1) {
    const k = splitPoint(count);
    // A perfect subtree comes from the tiles in one read, others by RFC 6962's split.
    if (k * 2 !== count)
      return nodeHash(await rangeRoot(folder, from, from + k), await rangeRoot(folder, from + k, to));
  }
  let level = 0;
  let width = count;
  let index = from;
  for (; width >= TILE_WIDTH; level++) [width, index] = [width / TILE_WIDTH, index / TILE_WIDTH];
  return treeRoot(await readHashes(folder, level, index, width));
}

async function readHashes(folder: string, level: number, index: number, count: number): Promise<Buffer[]> {
  const path = tilePath(level, Math.floor(index / TILE_WIDTH));
  const bytes = Buffer.alloc(count * HASH_BYTES);
  const file = await open(join(folder, path), 'r');
  try {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, (index % TILE_WIDTH) * HASH_BYTES);
    if (bytesRead !== bytes.length) {
      throw new AuditError('audit.tile-mismatch', `expected ${count} hashes in ${path}, found fewer`);
    }
  } finally {
    await file.close();
  }
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}
