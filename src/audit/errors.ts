import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions, isDiskFull } from '../base/index.ts';

/** Codes of `audit`. Whatever may be tampering is `security`; a log that shows one is neither opened nor repaired. */
export const AUDIT_ERRORS = {
  'audit.entry-invalid': {
    category: 'validation',
    retry: false,
    says: 'The entry cannot be written: a value JSON cannot hold, or an outcome for an intent that is not open.',
  },
  'audit.entry-too-large': {
    category: 'validation',
    retry: false,
    says: 'The entry is longer than 65,535 bytes as canonical JSON; log a digest and keep the content elsewhere.',
  },
  'audit.entry-missing': {
    category: 'validation',
    retry: false,
    says: 'The log holds no entry at this index.',
  },
  'audit.append-failed': {
    category: 'resource',
    retry: true,
    says: 'The entry could not be written and is not in the log, for instance because the disk is full.',
  },
  'audit.broken': {
    category: 'resource',
    retry: false,
    says: 'A write or sync failed half way, so it is unknown what is on disk. Stop; opening the log again recovers it.',
  },
  'audit.closed': { category: 'resource', retry: false, says: 'The log was closed; open it again.' },
  'audit.in-use': {
    category: 'resource',
    retry: true,
    says: 'The log is open in this process already; it has one writer.',
  },
  'audit.log-missing': { category: 'resource', retry: false, says: 'There is no audit log in this folder.' },
  'audit.foreign-write': {
    category: 'security',
    retry: false,
    says: 'Another writer changed the log while it was open. Stop, and find out what it was.',
  },
  'audit.entry-changed': {
    category: 'security',
    retry: false,
    says: 'An entry is not what was logged; the message names the first one.',
  },
  'audit.truncated': {
    category: 'security',
    retry: false,
    says: 'Entries are gone that the checkpoint or the stored hashes prove to have been there.',
  },
  'audit.tile-mismatch': {
    category: 'security',
    retry: false,
    says: 'A stored hash is missing or does not fit the entries, while the entries fit the checkpoint.',
  },
  'audit.root-mismatch': {
    category: 'security',
    retry: false,
    says: 'The entries do not give the root that was signed: history was rewritten.',
  },
  'audit.checkpoint-missing': {
    category: 'security',
    retry: false,
    says: 'The log has entries and no checkpoint; one is written before the first entry, so it was removed.',
  },
  'audit.checkpoint-forged': {
    category: 'security',
    retry: false,
    says: 'The checkpoint is malformed, of another log, or not signed by a log key that is trusted.',
  },
  'audit.rolled-back': {
    category: 'security',
    retry: false,
    says: 'The log is shorter than, or differs from, a checkpoint that was kept elsewhere.',
  },
  'audit.not-witnessed': {
    category: 'security',
    retry: false,
    says: 'The checkpoint has fewer valid cosignatures of trusted witnesses than are wanted.',
  },
  'audit.witness-refused': {
    category: 'resource',
    retry: true,
    says: 'A witness did not cosign the checkpoint; the next one is sent again.',
  },
  'audit.copy-failed': {
    category: 'resource',
    retry: true,
    says: 'The checkpoint could not be copied to a place outside; the next one is tried again.',
  },
  'audit.proof-invalid': {
    category: 'security',
    retry: false,
    says: 'The proof is malformed or does not prove that the entry stands in the log.',
  },
} as const satisfies ErrorCatalogue;

export type AuditErrorCode = keyof typeof AUDIT_ERRORS;

export class AuditError extends GuardianError {
  constructor(code: AuditErrorCode, message: string, options?: GuardianErrorOptions) {
    super(AUDIT_ERRORS, code, message, options);
  }
}

/** Whether an entry or a checkpoint could not be written and the log goes on by itself, as once there is room on the disk. */
export function isNoRoom(error: unknown): boolean {
  return isDiskFull(error) || (error instanceof AuditError && error.code === 'audit.append-failed');
}
