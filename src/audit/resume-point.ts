import { join } from 'node:path';
import type { KeyStore } from '../crypto/index.ts';
import { signLogNote } from './checkpoint.ts';
import { CompactRange, HASH_BYTES, perfectRoot } from './merkle.ts';
import { isBase64, noteKey, openNote } from './note.ts';
import { readIfThere, TILE_WIDTH, tilePath } from './tile-files.ts';

/** Entries between two resume points, and at least as many that are recomputed at each opening; whole bundles. */
export const RESUME_SPACING = 4096;
/** A snapshot with more of them is not worth its bytes. */
const MAX_OPEN_INTENTS = 1024;
const HEADER = 'ai-guardian/audit-resume@v1';
const FILE = 'resume';

/** Where a log can be opened from without recomputing what lies before; signed like a checkpoint. */
export interface ResumePoint {
  readonly size: number;
  /** The root over the first `size` entries in base64. */
  readonly root: string;
  /** Intents before `size` without an outcome before `size`. */
  readonly openIntents: readonly number[];
}

/** The tree at a resume point, rebuilt from stored tiles. */
export interface ResumedTree {
  readonly range: CompactRange;
  /** The hashes of the unfinished tile of each level. */
  readonly levels: Buffer[][];
}

/** The point at the end of a tree. */
export function pointAt(range: CompactRange, openIntents: readonly number[]): ResumePoint {
  return { size: range.size, root: range.root().toString('base64'), openIntents };
}

export function resumePath(folder: string): string {
  return join(folder, FILE);
}

/** The note to store. Undefined where the point is not worth one. */
export async function signResumePoint(
  keys: KeyStore,
  origin: string,
  { size, root, openIntents }: ResumePoint,
): Promise<string | undefined> {
  if (openIntents.length > MAX_OPEN_INTENTS) return undefined;
  const lines = [HEADER, origin, `${size}`, root, ...openIntents.map((index) => `open ${index}`)];
  return signLogNote(keys, origin, `${lines.join('\n')}\n`);
}

/** The stored text of the point, empty where there is none. Whoever reads a log that is being written reads it before the checkpoint, which is never behind it. */
export async function readResumeText(folder: string): Promise<string> {
  return (await readIfThere(resumePath(folder)))?.toString('utf8') ?? '';
}

/**
 * Reads a point, if a trusted key signed it for this log. Undefined where it is none: it only spares work, so that one
 * that was tampered with costs a full recomputation and nothing else.
 */
export function parseResumePoint(
  text: string,
  origin: string,
  publicKeysPem: readonly string[],
): ResumePoint | undefined {
  const keys = publicKeysPem.flatMap((pem) => noteKey(origin, pem) ?? []);
  const [header, name, size = '', root = '', ...open] = (openNote(text, keys) ?? '').split('\n').slice(0, -1);
  if (header !== HEADER || name !== origin || !isBase64(root, HASH_BYTES)) return undefined;
  return { size: Number(size), root, openIntents: open.map((line) => Number(line.slice('open '.length))) };
}

/** Rebuilds the tree from the tiles at its right edge. Undefined where they do not give the root that was signed. */
export async function resumeTree(
  folder: string,
  { size, root }: ResumePoint,
): Promise<ResumedTree | undefined> {
  const levels: Buffer[][] = [];
  const range = new CompactRange();
  for (
    let level = 0, count = size;
    level === 0 || count > 0;
    level++, count = Math.floor(count / TILE_WIDTH)
  ) {
    const width = count % TILE_WIDTH;
    const hashes: Buffer[] = [];
    levels[level] = hashes;
    if (width === 0) continue;
    const bytes = await readIfThere(join(folder, tilePath(level, Math.floor(count / TILE_WIDTH))));
    if (bytes === undefined || bytes.length < width * HASH_BYTES) return undefined;
    for (let i = 0; i < width; i++) hashes.push(bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
  for (let level = levels.length - 1; level >= 0; level--) {
    let at = 0;
    const hashes = Buffer.concat(levels[level] ?? []);
    for (let width = TILE_WIDTH / 2; width >= 1; width /= 2) {
      if (((hashes.length / HASH_BYTES) & width) === 0) continue;
      const subtree = perfectRoot(hashes.subarray(at, at + width * HASH_BYTES));
      range.appendSubtree(subtree, width * TILE_WIDTH ** level);
      at += width * HASH_BYTES;
    }
  }
  return range.root().toString('base64') === root ? { range, levels } : undefined;
}
