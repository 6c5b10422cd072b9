export type { AliasChange } from './aliases.ts';
export type { Actor, RegistryParts } from './context.ts';
export { REGISTRY_ERRORS, RegistryError, type RegistryErrorCode } from './errors.ts';
export { verifyExport } from './export.ts';
export type { GateReport, GateResult } from './gate-report.ts';
export { type Manifest, SIGNATURE_FILE, SIGNED_FILES } from './manifest.ts';
export { compareVersions, nextVersion, parseReference, type Reference } from './names.ts';
export { type OmsStatement, signStatement, type TrustedKey, verifyBundle } from './oms.ts';
export type { Candidate, PublishedVersion, PublishOptions } from './publish.ts';
export {
  openRegistry,
  type Registry,
  type ResolvedVersion,
  type VersionDetails,
  type VersionSummary,
} from './registry.ts';
export { UPDATE_ERRORS, UpdateError, type UpdateErrorCode } from './updates/errors.ts';
export { DEFAULT_EXPIRY, type RepositoryExpiry } from './updates/next-repository.ts';
export type { PublishedUpdates, PublishUpdatesOptions } from './updates/publish-updates.ts';
export type { ImportModel, PulledModel, PulledUpdates, PullUpdatesOptions } from './updates/pull-updates.ts';
export { METADATA_FOLDER, mirrorRepository, TARGETS_FOLDER } from './updates/repository-folder.ts';
export { type ServedRepository, serveRepository } from './updates/serve-repository.ts';
export {
  trustRoot,
  UpdateClient,
  type UpdateClientOptions,
  withUpdateClient,
} from './updates/update-client.ts';
export { UpdateService } from './updates/update-service.ts';
export { VERIFICATION_STEPS, type VerificationStep, VerifiedModel } from './verify.ts';
