import type { ConsistencyProof, InclusionProof } from './audit-log.ts';
import type { SignedCheckpoint } from './checkpoint.ts';
import { AuditError } from './errors.ts';
import { CompactRange, splitPoint, verifyConsistency, verifyInclusion } from './merkle.ts';
import { rangeRoot } from './tile-files.ts';

const EMPTY_ROOT = new CompactRange().root();

/**
 * The inclusion proof of an entry in the checkpoint's tree, read from the stored tiles (RFC 6962 section 2.1.1) and
 * checked before it is given out. Throws `audit.entry-missing`, `audit.tile-mismatch`.
 */
export async function proveInclusion(
  folder: string,
  index: number,
  checkpoint: SignedCheckpoint,
): Promise<InclusionProof> {
  const { size } = checkpoint;
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new AuditError('audit.entry-missing', `expected an index below ${size}, got ${index}`);
  }
  const ranges: (readonly [number, number])[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + splitPoint(to - from);
    ranges.unshift(index < middle ? [middle, to] : [from, middle]);
    [from, to] = index < middle ? [from, middle] : [middle, to];
  }
  // Small reads, all at once: one after the other they would wait for each other some twenty times.
  const [leaf, ...hashes] = await Promise.all([
    rangeRoot(folder, index, index + 1),
    ...ranges.map(([low, high]) => rangeRoot(folder, low, high)),
  ]);
  const root = Buffer.from(checkpoint.root, 'base64');
  if (!verifyInclusion({ index, size, leaf, hashes, root })) {
    throw new AuditError(
      'audit.tile-mismatch',
      `the stored hashes no longer lead from entry ${index} to the root`,
    );
  }
  return { index, checkpoint, hashes: hashes.map(encode) };
}

/** The consistency proof between two sizes (RFC 6962 section 2.1.2). Throws `audit.entry-missing`. */
export async function proveConsistency(folder: string, from: number, to: number): Promise<ConsistencyProof> {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || from > to) {
    throw new AuditError('audit.entry-missing', `expected two sizes in order, got ${from} and ${to}`);
  }
  const hashes: Buffer[] = [];
  let [low, high] = [0, to];
  let isWhole = true;
  while (from > 0 && from < high) {
    const middle = low + splitPoint(high - low);
    if (from <= middle) {
      hashes.unshift(await rangeRoot(folder, middle, high));
      high = middle;
    } else {
      hashes.unshift(await rangeRoot(folder, low, middle));
      low = middle;
      isWhole = false;
    }
  }
  if (!isWhole) hashes.unshift(await rangeRoot(folder, low, high));
  const fromRoot = await sizeRoot(folder, from);
  const toRoot = await sizeRoot(folder, to);
  if (!verifyConsistency({ from, to, fromRoot, toRoot, hashes })) {
    throw new AuditError('audit.tile-mismatch', `the stored hashes do not lead from size ${from} to ${to}`);
  }
  return { from, to, fromRoot: encode(fromRoot), toRoot: encode(toRoot), hashes: hashes.map(encode) };
}

function sizeRoot(folder: string, size: number): Promise<Buffer> {
  return size === 0 ? Promise.resolve(EMPTY_ROOT) : rangeRoot(folder, 0, size);
}

function encode(hash: Buffer): string {
  return hash.toString('base64');
}
