import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../base/index.ts';
import { canonicalJson } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import { type SignedCheckpoint, verifyCheckpoint } from './checkpoint.ts';
import { type AuditEntry, decodeEntry } from './entry.ts';
import { AuditError } from './errors.ts';
import { HASH_BYTES, leafHash, verifyInclusion } from './merkle.ts';
import { isBase64 } from './note.ts';

/** What a proof file proves. */
export interface ProvenEntry {
  readonly index: number;
  readonly entry: AuditEntry;
  readonly checkpoint: SignedCheckpoint;
}

const HEADER = 'c2sp.org/tlog-proof@v1';
/** A tree cannot be higher than that with sizes that fit a JavaScript number. */
const MAX_HASHES = 53;

/**
 * Writes the proof of one entry, to be verified offline with the log's public key alone (C2SP tlog-proof, usual
 * extension `.tlog-proof`). The entry itself travels in the `extra` line, which the format leaves to us.
 */
export async function writeProofFile(log: AuditLog, index: number, path: string): Promise<void> {
  await writeFileAtomic(path, await proofText(log, index));
}

/** What such a file holds; proven under the checkpoint given, one with cosignatures say, where that covers the entry. */
export async function proofText(log: AuditLog, index: number, under?: SignedCheckpoint): Promise<string> {
  const proof = await log.inclusionProof(index, under);
  const entry = Buffer.from(canonicalJson(await log.entry(index))).toString('base64');
  const head = [HEADER, `extra ${entry}`, `index ${index}`, ...proof.hashes];
  return `${head.join('\n')}\n\n${proof.checkpoint.text}`;
}

/** Verifies a proof file. Throws `audit.proof-invalid`, `audit.checkpoint-forged`. */
export async function verifyProofFile(
  path: string,
  options: { readonly logPublicKeyPem: string | readonly string[] },
): Promise<ProvenEntry> {
  const { logPublicKeyPem } = options;
  return verifyProof(
    await readFile(path, 'utf8'),
    typeof logPublicKeyPem === 'string' ? [logPublicKeyPem] : logPublicKeyPem,
  );
}

/** The same for a text that is at hand. */
export function verifyProof(text: string, publicKeysPem: readonly string[]): ProvenEntry {
  const end = text.indexOf('\n\n');
  const [header, extraLine, indexLine, ...encoded] = text.slice(0, Math.max(end, 0)).split('\n');
  const [, extra] = /^extra ([A-Za-z0-9+/]+=*)$/.exec(extraLine ?? '') ?? [];
  const [, index] = /^index (0|[1-9][0-9]{0,15})$/.exec(indexLine ?? '') ?? [];
  if (header !== HEADER || extra === undefined || index === undefined || !isBase64(extra)) {
    throw new AuditError(
      'audit.proof-invalid',
      `expected a proof of ${HEADER} that holds its entry, got another text`,
    );
  }
  if (encoded.length > MAX_HASHES || !encoded.every((hash) => isBase64(hash, HASH_BYTES))) {
    throw new AuditError('audit.proof-invalid', 'expected at most 53 hashes in the proof, got other lines');
  }
  const checkpoint = verifyCheckpoint(text.slice(end + 2), publicKeysPem);
  const bytes = Buffer.from(extra, 'base64');
  const isIncluded = verifyInclusion({
    index: Number(index),
    size: checkpoint.size,
    leaf: leafHash(bytes),
    hashes: encoded.map((hash) => Buffer.from(hash, 'base64')),
    root: Buffer.from(checkpoint.root, 'base64'),
  });
  if (!isIncluded) {
    throw new AuditError(
      'audit.proof-invalid',
      `the proof does not lead from entry ${index} to the signed root`,
    );
  }
  return { index: Number(index), entry: decodeEntry(bytes), checkpoint };
}
