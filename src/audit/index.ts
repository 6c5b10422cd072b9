export type {
  AuditLog,
  AuditLogHealth,
  ConsistencyProof,
  InclusionProof,
  IndexedEntry,
} from './audit-log.ts';
export {
  AUDITABLE_ACTIONS,
  type AuditableAction,
  auditCoverage,
  NOT_AUDITABLE,
} from './auditable-actions.ts';
export { type AuditedAction, audited, recoverIntents } from './audited.ts';
export { AuditedKeyStore, type AuditedKeyStoreOptions, auditedKeyStore } from './audited-key-store.ts';
export { type SignedCheckpoint, verifyCheckpoint } from './checkpoint.ts';
export {
  CheckpointPublisher,
  type CheckpointPublisherOptions,
  type PublisherStats,
  WITNESSED_FILE,
} from './checkpoint-publisher.ts';
export { type AuditConfig, auditConfigSchema } from './config.ts';
export { type FingerprintStore, recordConfiguration } from './config-change.ts';
export { type Cosignature, readCosignatures } from './cosignature.ts';
export { type Denial, DenialCollapser, type DenialCollapserOptions } from './denial-collapser.ts';
export {
  type AuditEntry,
  type AuditInput,
  type AuditKind,
  type AuditResult,
  MAX_ENTRY_BYTES,
} from './entry.ts';
export { AUDIT_ERRORS, AuditError, type AuditErrorCode, isNoRoom } from './errors.ts';
export { fencedAuditLog, type WriterFence } from './fenced-audit-log.ts';
export { verifyConsistency, verifyInclusion } from './merkle.ts';
export { type CheckpointPolicy, DEFAULT_CHECKPOINT_POLICY } from './merkle-audit-log.ts';
export { formatVerifierKey, type NoteKey, noteKey, parseVerifierKey } from './note.ts';
export { type OpenAuditLogOptions, openAuditLog } from './open-audit-log.ts';
export { type ProvenEntry, proofText, verifyProof, verifyProofFile, writeProofFile } from './proof-file.ts';
export { readServedCheckpoint, readTileResource, type TileResource } from './tile-resource.ts';
export { type VerifiedAuditLog, type VerifyAuditLogOptions, verifyAuditLog } from './verify-audit-log.ts';
export { type PostText, postText } from './witness-client.ts';
