import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import type { AuditLog } from './audit-log.ts';
import { type SignedCheckpoint, verifyCheckpoint } from './checkpoint.ts';
import { AuditError } from './errors.ts';
import type { PostText } from './witness-client.ts';

/** Where the copy of a log's checkpoint lies in a folder. */
export function copyPath(folder: string, origin: string): string {
  return join(folder, `${origin.replaceAll(/[^A-Za-z0-9.-]/g, '_')}.checkpoint`);
}

/**
 * Copies a checkpoint to a folder or, by POST, to an address. A copy in a folder is only ever replaced by one of a log
 * that continues it. Throws `audit.copy-failed`, `audit.rolled-back`, `audit.checkpoint-forged`.
 */
export async function copyCheckpoint(options: {
  readonly log: AuditLog;
  readonly checkpoint: SignedCheckpoint;
  readonly place: string;
  readonly publicKeysPem: readonly string[];
  readonly post: PostText;
}): Promise<void> {
  const { log, checkpoint, place, publicKeysPem, post } = options;
  if (!place.startsWith('/')) {
    const status = await post(place, checkpoint.text).then(
      (answer) => answer.status,
      () => 0,
    );
    if (status < 200 || status > 299) {
      throw new AuditError('audit.copy-failed', `the checkpoint could not be copied: status ${status}`);
    }
    return;
  }
  await compareWithCopy({ log, head: checkpoint, place, publicKeysPem });
  await writeFileAtomic(copyPath(place, checkpoint.origin), checkpoint.text, 0o644).catch(
    (cause: unknown) => {
      throw new AuditError('audit.copy-failed', 'the checkpoint could not be copied to its folder', {
        cause,
      });
    },
  );
}

/** Holds a log's head against the copy in a folder, if there is one. Throws where the folder is away, too. */
export async function compareWithCopy(options: {
  readonly log: AuditLog;
  readonly head: SignedCheckpoint;
  readonly place: string;
  readonly publicKeysPem: readonly string[];
}): Promise<void> {
  const { log, head, place, publicKeysPem } = options;
  // A share that is not mounted is not a copy that was removed; neither is taken for consent.
  const isThere = await stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isThere)
    throw new AuditError('audit.copy-failed', `expected a folder for copies at ${place}, found none`);
  const text = await readFile(copyPath(place, log.origin), 'utf8').catch(() => undefined);
  if (text !== undefined) await expectContinued(log, verifyCheckpoint(text, publicKeysPem), head);
}

/** Throws `audit.rolled-back` where a checkpoint of the log does not continue an older one. */
async function expectContinued(
  log: AuditLog,
  older: SignedCheckpoint,
  head: SignedCheckpoint,
): Promise<void> {
  if (older.origin !== head.origin || older.size > head.size) {
    const message = `a copy covers ${older.size} entries of ${older.origin}, the log holds ${head.size}`;
    throw new AuditError('audit.rolled-back', message);
  }
  const { fromRoot, toRoot } = await log.consistencyProof(older.size, head.size);
  if (fromRoot === older.root && toRoot === head.root) return;
  const message = `the first ${older.size} entries are not those that a copy kept elsewhere covers`;
  throw new AuditError('audit.rolled-back', message);
}
