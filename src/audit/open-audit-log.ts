import { randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Clock, faultPoint, writeFileAtomic } from '../base/index.ts';
import type { KeyStore } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import { type SignedCheckpoint, signCheckpoint, verifyCheckpoint } from './checkpoint.ts';
import { type AuditEntry, decodeEntry } from './entry.ts';
import { AuditError } from './errors.ts';
import { LogFiles } from './log-files.ts';
import { CompactRange } from './merkle.ts';
import { type CheckpointPolicy, DEFAULT_CHECKPOINT_POLICY, MerkleAuditLog } from './merkle-audit-log.ts';
import {
  parseResumePoint,
  pointAt,
  RESUME_SPACING,
  type ResumedTree,
  type ResumePoint,
  readResumeText,
  resumeTree,
} from './resume-point.ts';
import { type ScannedLog, scanLog } from './scan-log.ts';
import { readIfThere, TILE_WIDTH } from './tile-files.ts';

export interface OpenAuditLogOptions {
  readonly folder: string;
  readonly keys: KeyStore;
  /** The log's name in its checkpoints. A new log without one takes a random one; an old one must have it. */
  readonly origin?: string;
  readonly clock: Clock;
  readonly policy?: CheckpointPolicy;
  /** Told of each new checkpoint once it is durable. */
  readonly onCheckpoint?: (checkpoint: SignedCheckpoint) => void;
  /** Told once of each reason for which checkpoints cannot be signed in the background, and of undefined when one was. */
  readonly onSigning?: (failure: string | undefined) => void;
}

/** One writer in this process; that there is one process is the state's lock. */
const openFolders = new Set<string>();

/**
 * Opens a log, or makes a new one in an empty folder. What was stored since the last signed resume point, 4,096 entries
 * at least, is recomputed first; where there is no such point, everything (some 5 us an entry). What lies before is held
 * by the signed root alone: `entry`, `entries` and the proofs check against it what they read, `verifyAuditLog` all.
 *
 * After a crash the torn end of the last write is cut off, never below the last checkpoint; whole entries after it are
 * kept, stored hashes that are missing are written again, and an `audit.recover` entry says what was found. What does
 * not fit is refused with a security error and left as it is: `audit.entry-changed`, `audit.truncated`,
 * `audit.tile-mismatch`, `audit.root-mismatch`, `audit.checkpoint-missing`, `audit.checkpoint-forged`; and
 * `audit.rolled-back` where a resume point is ahead of the checkpoint, which is written first.
 * Throws `audit.in-use` where this process has the log open.
 */
export async function openAuditLog(options: OpenAuditLogOptions): Promise<AuditLog> {
  const folder = resolve(options.folder);
  if (openFolders.has(folder))
    throw new AuditError('audit.in-use', `the audit log in ${folder} is open already`);
  openFolders.add(folder);
  const files = new LogFiles(folder);
  try {
    return await openIn(folder, files, options);
  } catch (error) {
    openFolders.delete(folder);
    await files.close();
    throw error;
  }
}

async function openIn(folder: string, files: LogFiles, options: OpenAuditLogOptions): Promise<AuditLog> {
  const { keys, clock } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const trusted = await trustedKeys(keys);
  const checkpoint = (await readCheckpoint(folder, options, trusted)) ?? (await createLog(folder, options));
  const resumed = await resume(folder, checkpoint, trusted);
  const openIntents = new Map<number, AuditEntry>();
  let resumePoint: ResumePoint | undefined;
  const scanned = await scanLog({
    folder,
    checkpoint,
    ...(resumed === undefined ? {} : { start: resumed.tree }),
    onEntry: (index, bytes) => {
      const entry = index < checkpoint.size ? parseCovered(bytes) : decodeEntry(bytes);
      if (entry.kind === 'intent') openIntents.set(index, entry);
      // Of the intents before the resume point only the indices are known here.
      if (entry.intent !== undefined && !openIntents.delete(entry.intent)) resumed?.open.delete(entry.intent);
    },
    onBundle: (range) => {
      if (range.size % RESUME_SPACING === 0 && range.size <= checkpoint.size)
        resumePoint = pointAt(range, [...(resumed?.open ?? []), ...openIntents.keys()]);
    },
  });
  await repair(files, scanned);
  const intents = new Map<number, AuditEntry>();
  const log = new MerkleAuditLog({
    folder,
    keys,
    clock,
    policy: options.policy ?? DEFAULT_CHECKPOINT_POLICY,
    files,
    checkpoint,
    signedBy: await activeSigner(keys, checkpoint),
    range: scanned.range,
    levels: scanned.levels,
    openIntents: intents,
    resumePoint,
    onCheckpoint: options.onCheckpoint,
    onSigning: options.onSigning,
    onClose: () => openFolders.delete(folder),
  });
  // Read through the log itself, which holds them against the signed root.
  for (const index of [...(resumed?.open ?? [])].sort((a, b) => a - b))
    intents.set(index, await log.entry(index));
  for (const [index, entry] of openIntents) intents.set(index, entry);
  if (scanned.size > checkpoint.size || scanned.tornBytes > 0) await recordRecovery(log, scanned, checkpoint);
  return log;
}

async function trustedKeys(keys: KeyStore): Promise<readonly string[]> {
  return (await keys.list()).flatMap(({ purpose, state, publicKeyPem }) =>
    purpose === 'log-signing' && state !== 'revoked' && publicKeyPem !== undefined ? [publicKeyPem] : [],
  );
}

/** The tree at the resume point and the intents open there; undefined where everything is to be recomputed. */
async function resume(
  folder: string,
  checkpoint: SignedCheckpoint,
  trusted: readonly string[],
): Promise<{ readonly tree: ResumedTree; readonly open: Set<number> } | undefined> {
  const point = parseResumePoint(await readResumeText(folder), checkpoint.origin, trusted);
  if (point === undefined) return undefined;
  if (point.size > checkpoint.size) {
    const message = `a resume point covers ${point.size} entries, the checkpoint ${checkpoint.size}`;
    throw new AuditError('audit.rolled-back', message);
  }
  const tree = await resumeTree(folder, point);
  return tree === undefined ? undefined : { tree, open: new Set(point.openIntents) };
}

async function readCheckpoint(
  folder: string,
  { origin }: OpenAuditLogOptions,
  trusted: readonly string[],
): Promise<SignedCheckpoint | undefined> {
  const text = await readIfThere(join(folder, 'checkpoint'));
  if (text === undefined) return undefined;
  const checkpoint = verifyCheckpoint(text.toString('utf8'), trusted);
  if (origin !== undefined && checkpoint.origin !== origin) {
    const message = `expected the checkpoint of ${origin}, got that of ${checkpoint.origin}`;
    throw new AuditError('audit.checkpoint-forged', message);
  }
  return checkpoint;
}

async function activeSigner(keys: KeyStore, checkpoint: SignedCheckpoint): Promise<string | undefined> {
  const { id, publicKeyPem } = await keys.active('log-signing');
  try {
    verifyCheckpoint(checkpoint.text, [publicKeyPem ?? '']);
    return id;
  } catch {
    return undefined;
  }
}

/** The checkpoint of the empty log comes before anything else, so that entries without one are a sign of tampering. */
async function createLog(folder: string, { keys, origin }: OpenAuditLogOptions): Promise<SignedCheckpoint> {
  if ((await readdir(folder)).includes('tile')) {
    throw new AuditError(
      'audit.checkpoint-missing',
      `expected a checkpoint in ${folder}, found entries without one`,
    );
  }
  const name = origin ?? `ai-guardian/${randomBytes(8).toString('hex')}`;
  const head = { origin: name, size: 0, root: new CompactRange().root() };
  const checkpoint = await signCheckpoint(keys, head);
  faultPoint('audit.create.before-write');
  await writeFileAtomic(join(folder, 'checkpoint'), checkpoint.text);
  faultPoint('audit.create.after-write');
  return checkpoint;
}

async function repair(files: LogFiles, scanned: ScannedLog): Promise<void> {
  const { size, bundleBytes, tornBytes, missing } = scanned;
  if (bundleBytes > 0 || tornBytes > 0) await files.resumeBundle(Math.floor(size / TILE_WIDTH), bundleBytes);
  await files.writeHashes([...missing].sort((a, b) => a.level - b.level || a.index - b.index));
}

async function recordRecovery(
  log: AuditLog,
  scanned: ScannedLog,
  checkpoint: SignedCheckpoint,
): Promise<void> {
  await log.append({
    kind: 'event',
    action: 'audit.recover',
    principal: 'system',
    subject: checkpoint.origin,
    detail: {
      checkpointSize: checkpoint.size,
      entriesAfterCheckpoint: scanned.size - checkpoint.size,
      tornBytes: scanned.tornBytes,
    },
  });
  await log.checkpoint();
}

/**
 * Reads an entry that the checkpoint covers. That it is canonical was settled before its hash was signed; were the
 * signature over other bytes, the scan fails at the checkpoint's size and what was read here is thrown away.
 */
function parseCovered(bytes: Buffer): AuditEntry {
  try {
    const entry: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof entry === 'object' && entry !== null) return entry as AuditEntry;
  } catch (cause) {
    throw new AuditError('audit.entry-changed', 'expected an entry in json, got other bytes', { cause });
  }
  throw new AuditError('audit.entry-changed', 'expected an entry in json, got another value');
}
