import { join } from 'node:path';
import { verifyCheckpoint } from './checkpoint.ts';
import { AuditError } from './errors.ts';
import { parseResumePoint, readResumeText } from './resume-point.ts';
import { scanLog } from './scan-log.ts';
import { readIfThere } from './tile-files.ts';

export interface VerifyAuditLogOptions {
  readonly folder: string;
  /** The log's public key, or all that signed for it over time (SPKI PEM). */
  readonly logPublicKeyPem: string | readonly string[];
  /** The text of a checkpoint that was kept elsewhere. Only with one can a rollback to an older state be seen. */
  readonly outsideCheckpoint?: string;
}

export interface VerifiedAuditLog {
  /** Entries that the checkpoint covers. */
  readonly size: number;
  /** Their root in base64, as signed. */
  readonly root: string;
  readonly origin: string;
  /** Whole entries after the checkpoint: held by their stored hashes alone. 0 after a clean close. */
  readonly uncovered: number;
  readonly verified: true;
}

/**
 * Recomputes a whole log, without keys and without changing it, one bundle in memory at a time; a log that is being
 * written may be verified too. Throws `audit.log-missing` and the security codes of `openAuditLog`, and
 * `audit.rolled-back` where the log does not contain the outside checkpoint.
 */
export async function verifyAuditLog(options: VerifyAuditLogOptions): Promise<VerifiedAuditLog> {
  const { folder, logPublicKeyPem, outsideCheckpoint } = options;
  const keys = typeof logPublicKeyPem === 'string' ? [logPublicKeyPem] : logPublicKeyPem;
  const resumeText = await readResumeText(folder);
  const text = await readIfThere(join(folder, 'checkpoint'));
  if (text === undefined) {
    if ((await readIfThere(join(folder, 'tile', 'entries', '000'))) === undefined) {
      throw new AuditError('audit.log-missing', `expected an audit log in ${folder}, found none`);
    }
    throw new AuditError(
      'audit.checkpoint-missing',
      `expected a checkpoint in ${folder}, found entries without one`,
    );
  }
  const checkpoint = verifyCheckpoint(text.toString('utf8'), keys);
  const outside = outsideCheckpoint === undefined ? undefined : verifyCheckpoint(outsideCheckpoint, keys);
  if (outside !== undefined && outside.origin !== checkpoint.origin) {
    const message = `the outside checkpoint is of ${outside.origin}, the log is ${checkpoint.origin}`;
    throw new AuditError('audit.rolled-back', message);
  }
  const resume = parseResumePoint(resumeText, checkpoint.origin, keys);
  if (resume !== undefined && resume.size > checkpoint.size) {
    const message = `a resume point covers ${resume.size} entries, the checkpoint ${checkpoint.size}`;
    throw new AuditError('audit.rolled-back', message);
  }
  const scanned = await scanLog({ folder, checkpoint, ...(outside === undefined ? {} : { outside }) });
  const { size, root, origin } = checkpoint;
  return { size, root, origin, uncovered: scanned.size - size, verified: true };
}
