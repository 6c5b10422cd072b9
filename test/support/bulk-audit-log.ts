import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { signCheckpoint } from '../../src/audit/checkpoint.ts';
import { encodeEntry } from '../../src/audit/entry.ts';
import { type AuditInput, openAuditLog } from '../../src/audit/index.ts';
import { CompactRange, leafHash } from '../../src/audit/merkle.ts';
import { pushHash } from '../../src/audit/merkle-audit-log.ts';
import { pointAt, RESUME_SPACING, resumePath, signResumePoint } from '../../src/audit/resume-point.ts';
import type { TileHash } from '../../src/audit/scan-log.ts';
import { frameEntry, TILE_WIDTH, tilePath } from '../../src/audit/tile-files.ts';
import type { KeyStore } from '../../src/crypto/index.ts';
import { clock } from './audit-log.ts';

/**
 * Writes a log of many entries in the formats of the real one, without a sync for each: what a writer leaves that was
 * closed cleanly. Gives the text of its checkpoint.
 */
export async function writeBulkLog(options: {
  readonly folder: string;
  readonly keys: KeyStore;
  readonly count: number;
  readonly entry: (n: number) => AuditInput;
}): Promise<string> {
  const { folder, keys, count, entry } = options;
  const log = await openAuditLog({ folder, keys, clock, origin: 'bulk.example/log' });
  const { origin } = log;
  await log.close();
  const range = new CompactRange();
  const levels: Buffer[][] = [[]];
  const tiles = new Map<string, Buffer[]>();
  const open = new Set<number>();
  let point = pointAt(range, []);
  const time = new Date(clock.now()).toISOString();
  for (let first = 0; first < count; first += TILE_WIDTH) {
    const framed: Buffer[] = [];
    const hashes: TileHash[] = [];
    for (let n = first; n < Math.min(count, first + TILE_WIDTH); n++) {
      const input = entry(n);
      const bytes = encodeEntry({ v: 1, time, ...input });
      if (input.kind === 'intent') open.add(n);
      if (input.intent !== undefined) open.delete(input.intent);
      framed.push(frameEntry(bytes));
      const leaf = leafHash(bytes);
      range.append(leaf);
      pushHash(levels, { level: 0, index: n, hash: leaf }, hashes);
    }
    await put(join(folder, tilePath('entries', first / TILE_WIDTH)), Buffer.concat(framed));
    for (const { level, index, hash } of hashes) {
      const path = join(folder, tilePath(level, Math.floor(index / TILE_WIDTH)));
      const tile = tiles.get(path) ?? [];
      tile.push(hash);
      tiles.set(path, tile);
      if (tile.length < TILE_WIDTH) continue;
      await put(path, Buffer.concat(tile));
      tiles.delete(path);
    }
    const isPoint = range.size % RESUME_SPACING === 0 && range.size + RESUME_SPACING <= count;
    if (isPoint) point = pointAt(range, [...open]);
  }
  for (const [path, tile] of tiles) await put(path, Buffer.concat(tile));
  const { text } = await signCheckpoint(keys, { origin, size: count, root: range.root() });
  await writeFile(join(folder, 'checkpoint'), text);
  const resume = point.size > 0 ? await signResumePoint(keys, origin, point) : undefined;
  if (resume !== undefined) await writeFile(resumePath(folder), resume);
  return text;
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, bytes);
}
