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
export { VERIFICATION_STEPS, type VerificationStep, VerifiedModel } from './verify.ts';
