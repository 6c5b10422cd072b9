import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AuditError } from './errors.ts';
import { HASH_BYTES } from './merkle.ts';
import { framedEntries, readIfThere, TILE_WIDTH, tilePath } from './tile-files.ts';

/** A tile or bundle as it is served. */
export interface TileResource {
  readonly bytes: Buffer;
  /** Full tiles never change again. */
  readonly isFull: boolean;
}

const PATH =
  /^(entries|0|[1-9]|[1-5][0-9]|6[0-3])\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/([1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?$/;

/**
 * What stands at `tile/PATH` of a log, as far as its last checkpoint reaches (C2SP tlog-tiles): `0/x001/067`, `entries/000.p/12`. A partial
 * one may be asked for in each width up to what there is. Throws `audit.entry-missing` for any other path.
 */
export async function readTileResource(folder: string, path: string): Promise<TileResource> {
  const [, kind, digits = '', partial] = PATH.exec(path) ?? [];
  const level = kind === 'entries' ? 0 : Number(kind);
  const index = Number(digits.replaceAll(/[x/]/g, ''));
  const width = partial === undefined ? TILE_WIDTH : Number(partial);
  const file = kind === 'entries' ? tilePath('entries', index) : tilePath(level, index);
  const size = Number((await readFile(join(folder, 'checkpoint'), 'utf8')).split('\n')[1]);
  const isCanonical = kind !== undefined && file === join('tile', kind, digits);
  // Of the size, not of the file: entries that no checkpoint covers are nobody's yet.
  const stored = Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH;
  if (!isCanonical || stored < width) {
    throw new AuditError('audit.entry-missing', 'the log has no such tile');
  }
  const bytes = (await readIfThere(join(folder, file))) ?? Buffer.alloc(0);
  const end = kind === 'entries' ? bundleEnd(bytes, width) : width * HASH_BYTES;
  if (end === undefined || bytes.length < end) {
    throw new AuditError('audit.truncated', `${file} holds less than the checkpoint says`);
  }
  return { bytes: bytes.subarray(0, end), isFull: partial === undefined };
}

/** The checkpoint to serve: the last witnessed one where there is one, else the log's own. */
export async function readServedCheckpoint(folder: string, witnessedFile: string): Promise<string> {
  const witnessed = await readIfThere(join(folder, witnessedFile));
  return (witnessed ?? (await readFile(join(folder, 'checkpoint')))).toString('utf8');
}

function bundleEnd(bundle: Buffer, count: number): number | undefined {
  const entries = [...framedEntries(bundle)].slice(0, count);
  return entries.length < count ? undefined : entries.reduce((sum, { length }) => sum + 2 + length, 0);
}
