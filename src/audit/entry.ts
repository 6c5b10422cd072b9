import { canonicalJson, parseCanonicalJson } from '../crypto/index.ts';
import { AuditError } from './errors.ts';

/** `intent` is synced before a thing is done, `outcome` after; an `event` needs no pair. */
export type AuditKind = 'intent' | 'outcome' | 'event';

export type AuditResult = 'done' | 'failed' | 'aborted';

/** One entry, version 1; written as canonical JSON. */
export interface AuditEntry {
  readonly v: 1;
  readonly kind: AuditKind;
  /** RFC 3339, UTC. */
  readonly time: string;
  /** What is done, as `<room>.<verb>`: `model.promote`. */
  readonly action: string;
  readonly principal: string;
  /** What it is done to: `flow@1.0.0`. */
  readonly subject: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** Outcomes only: the index of the intent. */
  readonly intent?: number;
  /** Outcomes only. */
  readonly result?: AuditResult;
  readonly reason?: string;
}

export type AuditInput = Omit<AuditEntry, 'v' | 'time'>;

/** The length field of an entry bundle has 16 bits. */
export const MAX_ENTRY_BYTES = 65_535;

const KINDS: readonly AuditKind[] = ['intent', 'outcome', 'event'];
const RESULTS: readonly AuditResult[] = ['done', 'failed', 'aborted'];

/** Canonical bytes of an entry. Throws `audit.entry-invalid`, `audit.entry-too-large`. */
export function encodeEntry(entry: AuditEntry): Buffer {
  const { action } = entry;
  if (!isAuditEntry(entry)) {
    throw new AuditError(
      'audit.entry-invalid',
      `expected an entry of version 1, got another shape for ${action}`,
    );
  }
  let text: string;
  try {
    text = canonicalJson(entry);
  } catch (cause) {
    throw new AuditError('audit.entry-invalid', `entry for ${action} has no canonical form`, { cause });
  }
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_ENTRY_BYTES) {
    const message = `expected an entry of at most ${MAX_ENTRY_BYTES} bytes, got ${bytes.length} for ${action}`;
    throw new AuditError('audit.entry-too-large', message);
  }
  return bytes;
}

/** Reads an entry. Throws `audit.entry-changed` when the bytes are not what `encodeEntry` gives. */
export function decodeEntry(bytes: Uint8Array): AuditEntry {
  let value: unknown;
  try {
    value = parseCanonicalJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new AuditError('audit.entry-changed', 'expected an entry in canonical json, got other bytes', {
      cause,
    });
  }
  if (!isAuditEntry(value)) {
    throw new AuditError('audit.entry-changed', 'expected an entry of version 1, got another shape');
  }
  return value;
}

function isAuditEntry(value: unknown): value is AuditEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { v, kind, time, action, principal, subject, detail, intent, result, reason } = value as Record<
    string,
    unknown
  >;
  const isOutcome = kind === 'outcome';
  return (
    v === 1 &&
    KINDS.some((each) => each === kind) &&
    [time, action, principal, subject].every((text) => typeof text === 'string') &&
    typeof detail === 'object' &&
    detail !== null &&
    !Array.isArray(detail) &&
    (isOutcome ? Number.isSafeInteger(intent) : intent === undefined) &&
    (isOutcome ? RESULTS.some((each) => each === result) : result === undefined) &&
    (reason === undefined || typeof reason === 'string')
  );
}
