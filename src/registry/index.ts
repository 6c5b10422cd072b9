export type { Admission } from './admit.ts';
export type { AliasChange } from './aliases.ts';
export type { CertifiedVersion } from './certify-version.ts';
export type { Actor, RegistryParts } from './context.ts';
export { Custody, type CustodyState, type VersionState } from './custody.ts';
export type { Hold, Removal } from './custody-index.ts';
export { type EraseStatus, replayErasures, type Serving } from './erase.ts';
export { REGISTRY_ERRORS, RegistryError, type RegistryErrorCode } from './errors.ts';
export type { EscrowRun } from './escrow.ts';
export { type Drift, type EvaluatorReport, verifyEvaluatorReport } from './evaluator-report.ts';
export { type ExportFiles, type ExportTrust, readExport, verifyExport, verifyExportFiles } from './export.ts';
export type {
  CertificationInput,
  CertificationResult,
  CertificationTerms,
  EvaluationInput,
  EvaluationResult,
  GateDataFacts,
  GateDataFiles,
  GateEvaluator,
} from './gate-evaluator.ts';
export type { GateReport, GateResult, SkippedGate } from './gate-report.ts';
export type { ImportOptions } from './import.ts';
export { REVOKE } from './key-revocations.ts';
export type { Lineage, Succession } from './lineage.ts';
export type { Approval, Certification, GateData } from './log-index.ts';
export {
  type ImportedFrom,
  type Manifest,
  ORIGIN_FILES,
  SIGNATURE_FILE,
  SIGNED_FILES,
} from './manifest.ts';
export {
  compareVersions,
  nextVersion,
  parseReference,
  type Reference,
  VERSION_FORM,
  type VersioningStrategy,
} from './names.ts';
export {
  type OmsStatement,
  signStatement,
  type TrustedKey,
  type TrustedRoot,
  type TrustedSigner,
  verifyBundle,
} from './oms.ts';
export { DEFAULT_REGISTRY_POLICY, type RegistryPolicy } from './policy.ts';
export { isKeyStoreAway, type Resident } from './prepare-move.ts';
export type { KeepReason, PruneResult, PruneVerdict } from './prune.ts';
export type { Candidate, PublishedVersion, PublishOptions } from './publish.ts';
export {
  openRegistry,
  type Registry,
  type ResolvedVersion,
  type VersionDetails,
  type VersionSummary,
} from './registry.ts';
export { RETENTION_DEFAULTS, type RetentionConfig, retentionConfigSchema } from './retention-config.ts';
export { type KeyRotation, ROTATE, type RotateOptions } from './rotate-keys.ts';
export { SECOND_SIGNATURE_FILE } from './second-signature.ts';
export type { ProvenMove, ServedAt } from './served-at.ts';
export { parseTag } from './tags.ts';
export { UPDATE_ERRORS, UpdateError, type UpdateErrorCode } from './updates/errors.ts';
export { DEFAULT_EXPIRY, type RepositoryExpiry } from './updates/next-repository.ts';
export type { PublishedUpdates, PublishUpdatesOptions } from './updates/publish-updates.ts';
export type { PulledModel, PulledUpdates, PullUpdatesOptions } from './updates/pull-updates.ts';
export { METADATA_FOLDER, mirrorRepository, TARGETS_FOLDER } from './updates/repository-folder.ts';
export { type ServedRepository, serveRepository } from './updates/serve-repository.ts';
export {
  trustRoot,
  UpdateClient,
  type UpdateClientOptions,
  withUpdateClient,
} from './updates/update-client.ts';
export { UpdateService } from './updates/update-service.ts';
export { VerifiedCertificate } from './verified-certificate.ts';
export {
  type ThreadEvidence,
  threadEvidence,
  VERIFICATION_STEPS,
  type VerificationStep,
  VerifiedModel,
  verifyInThread,
} from './verify.ts';
