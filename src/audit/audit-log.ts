import type { SignedCheckpoint } from './checkpoint.ts';
import type { AuditEntry, AuditInput } from './entry.ts';

export interface IndexedEntry {
  readonly index: number;
  readonly entry: AuditEntry;
}

/** Leads from one entry to the root of a signed checkpoint. Hashes are base64. */
export interface InclusionProof {
  readonly index: number;
  readonly checkpoint: SignedCheckpoint;
  readonly hashes: readonly string[];
}

/** Shows that the tree of size `to` begins with the tree of size `from`. Hashes are base64. */
export interface ConsistencyProof {
  readonly from: number;
  readonly to: number;
  readonly fromRoot: string;
  readonly toRoot: string;
  readonly hashes: readonly string[];
}

/** How the log is doing. */
export interface AuditLogHealth {
  /** Durable entries that no checkpoint covers yet. */
  readonly unsigned: number;
  /** Outcomes of what was done that wait for room on the disk. */
  readonly owed: number;
  /** Code of what the last append failed with; null where it was good. */
  readonly appending: string | null;
  /** Code of what the last checkpoint failed with, as while the key store is away; null where it was good. */
  readonly signing: string | null;
}

/** An append-only log that proves what it holds. It has one writer. */
export interface AuditLog {
  readonly origin: string;
  /** Durable entries. */
  readonly size: number;
  readonly health: AuditLogHealth;
  /**
   * Appends one entry; resolves with its index once it is durable. Entries appended at the same time share one
   * fdatasync. An outcome that finds no room on the disk is refused like any entry, and written by itself once there is
   * some: what it tells has happened. Throws `audit.entry-invalid`, `audit.entry-too-large`, `audit.append-failed` (not in the log),
   * `audit.broken` (unknown whether it is), `audit.foreign-write`, `audit.closed`.
   */
  append(input: AuditInput): Promise<number>;
  /** Throws `audit.entry-missing`, and `audit.entry-changed` when the file changed since. */
  entry(index: number): Promise<AuditEntry>;
  /** Entries `from` (0) to `to` (exclusive; the size at the call). */
  entries(from?: number, to?: number): AsyncIterable<IndexedEntry>;
  /** Intents that have no outcome yet, oldest first. */
  openIntents(): Promise<readonly IndexedEntry[]>;
  /** A signed checkpoint over everything durable: the last one if it covers that, else a new one, durable when resolved. */
  checkpoint(): Promise<SignedCheckpoint>;
  /** Under the checkpoint given, one of this log's; else under the last one, and signs one first where none covers the entry. */
  inclusionProof(index: number, under?: SignedCheckpoint): Promise<InclusionProof>;
  consistencyProof(from: number, to: number): Promise<ConsistencyProof>;
  /** Writes what was appended, signs a last checkpoint, closes the files. */
  close(): Promise<void>;
}
