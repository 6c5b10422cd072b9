import { join } from 'node:path';
import { type SignedCheckpoint, verifyCheckpoint } from './checkpoint.ts';
import { WITNESSED_FILE } from './checkpoint-publisher.ts';
import { readCosignatures } from './cosignature.ts';
import { AuditError } from './errors.ts';
import { parseVerifierKey } from './note.ts';
import { parseResumePoint, readResumeText } from './resume-point.ts';
import { scanLog } from './scan-log.ts';
import { readIfThere } from './tile-files.ts';

export interface VerifyAuditLogOptions {
  readonly folder: string;
  /** The log's public key, or all that signed for it over time (SPKI PEM). */
  readonly logPublicKeyPem: string | readonly string[];
  /** The text of a checkpoint that was kept elsewhere. Only with one can a rollback to an older state be seen. */
  readonly outsideCheckpoint?: string;
  /** Verifier keys of witnesses (C2SP vkey, type 4), and how many of them must have cosigned; all by default. */
  readonly witnessKeys?: readonly string[];
  readonly cosignaturesWanted?: number;
}

export interface VerifiedAuditLog {
  /** Entries that the checkpoint covers. */
  readonly size: number;
  /** Their root in base64, as signed. */
  readonly root: string;
  readonly origin: string;
  /** Whole entries after the checkpoint: held by their stored hashes alone. 0 after a clean close. */
  readonly uncovered: number;
  /** Where witness keys were given: the size that they cosigned last, and who did. */
  readonly witnessed?: { readonly size: number; readonly names: readonly string[] };
  readonly verified: true;
}

/**
 * Recomputes a whole log, without keys and without changing it, one bundle in memory at a time; a log that is being
 * written may be verified too. Throws `audit.log-missing` and the security codes of `openAuditLog`, and
 * `audit.rolled-back` where the log does not contain the outside or the witnessed checkpoint,
 * `audit.not-witnessed` where too few of the given witnesses cosigned that.
 */
export async function verifyAuditLog(options: VerifyAuditLogOptions): Promise<VerifiedAuditLog> {
  const { folder, logPublicKeyPem, outsideCheckpoint } = options;
  const keys = typeof logPublicKeyPem === 'string' ? [logPublicKeyPem] : logPublicKeyPem;
  // Before the checkpoint, which is ahead of both while the log is written.
  const resumeText = await readResumeText(folder);
  const witnessedText = (await readIfThere(join(folder, WITNESSED_FILE)))?.toString('utf8');
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
  const heads = outside === undefined ? [] : [outside];
  const witnessed = readWitnessed(witnessedText, checkpoint, options);
  if (witnessed !== undefined) heads.push(witnessed.head);
  const resume = parseResumePoint(resumeText, checkpoint.origin, keys);
  if (resume !== undefined && resume.size > checkpoint.size) {
    const message = `a resume point covers ${resume.size} entries, the checkpoint ${checkpoint.size}`;
    throw new AuditError('audit.rolled-back', message);
  }
  const scanned = await scanLog({ folder, checkpoint, outside: heads });
  const { size, root, origin } = checkpoint;
  const shown = witnessed && { size: witnessed.head.size, names: witnessed.names };
  const uncovered = scanned.size - size;
  return { size, root, origin, uncovered, ...(shown && { witnessed: shown }), verified: true };
}

/** The witnessed checkpoint, held to the policy; undefined where no witness keys were given. */
function readWitnessed(
  text: string | undefined,
  { origin }: SignedCheckpoint,
  { logPublicKeyPem, witnessKeys = [], cosignaturesWanted }: VerifyAuditLogOptions,
): { readonly head: SignedCheckpoint; readonly names: readonly string[] } | undefined {
  if (witnessKeys.length === 0) return undefined;
  const keys = witnessKeys.flatMap((vkey) => parseVerifierKey(vkey) ?? []);
  const names = readCosignatures(text ?? '', keys).map(({ name }) => name);
  const wanted = cosignaturesWanted ?? witnessKeys.length;
  if (text === undefined || names.length < wanted || names.length === 0) {
    const message = `expected the cosignatures of ${Math.max(1, wanted)} witnesses, found ${names.length}`;
    throw new AuditError('audit.not-witnessed', message);
  }
  const head = verifyCheckpoint(
    text,
    typeof logPublicKeyPem === 'string' ? [logPublicKeyPem] : logPublicKeyPem,
  );
  if (head.origin !== origin) {
    throw new AuditError(
      'audit.rolled-back',
      `the witnessed checkpoint is of ${head.origin}, the log ${origin}`,
    );
  }
  return { head, names };
}
