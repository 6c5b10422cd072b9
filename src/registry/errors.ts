import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `registry`. Whatever may be tampering is `security`, and nothing is loaded after it. */
export const REGISTRY_ERRORS = {
  'registry.name-invalid': {
    category: 'validation',
    retry: false,
    says: 'A model name, alias, version or reference is not of the expected form.',
  },
  'registry.candidate-invalid': {
    category: 'validation',
    retry: false,
    says: 'A candidate contradicts itself: weights, schema, gate report and provenance must speak of one model.',
  },
  'registry.version-exists': {
    category: 'validation',
    retry: false,
    says: 'This version was published before; versions are never replaced.',
  },
  'registry.version-unknown': {
    category: 'validation',
    retry: false,
    says: 'The registry holds no such model version.',
  },
  'registry.alias-unknown': {
    category: 'validation',
    retry: false,
    says: 'The model has no such alias; promote a version to it first.',
  },
  'registry.gate-failed': {
    category: 'model',
    retry: false,
    says: 'The version did not pass its gates and cannot be promoted.',
  },
  'registry.no-previous': {
    category: 'validation',
    retry: false,
    says: 'The alias has no earlier approved version to go back to.',
  },
  'registry.bundle-malformed': {
    category: 'security',
    retry: false,
    says: 'The signature file is not an OpenSSF Model Signing v1.0 bundle in the form that the registry writes.',
  },
  'registry.signature-invalid': {
    category: 'security',
    retry: false,
    says: 'The signature does not fit what was signed.',
  },
  'registry.signer-untrusted': {
    category: 'security',
    retry: false,
    says: 'The model was signed by a key that is not among the trusted ones.',
  },
  'registry.signer-revoked': {
    category: 'security',
    retry: false,
    says: 'The key that signed the model was revoked.',
  },
  'registry.file-tampered': {
    category: 'security',
    retry: false,
    says: 'A file of the model is missing, extra, or differs from what was signed.',
  },
  'registry.manifest-mismatch': {
    category: 'security',
    retry: false,
    says: 'The signed manifest is malformed or speaks of another model, version or file than the one asked for.',
  },
  'registry.version-not-in-log': {
    category: 'security',
    retry: false,
    says: 'The audit log does not hold the publication of this version as the database tells it.',
  },
  'registry.pointer-not-in-log': {
    category: 'security',
    retry: false,
    says: 'An alias points where the audit log does not say it points; the database was edited or rolled back.',
  },
  'registry.wraps-tampered': {
    category: 'security',
    retry: false,
    says: 'The wrapped data key is gone, was changed, or was wrapped by a key that is not here.',
  },
  'registry.weights-tampered': {
    category: 'security',
    retry: false,
    says: 'The stored weights were changed: they do not decrypt, or have another digest than the signed one.',
  },
  'registry.model-unreadable': {
    category: 'security',
    retry: false,
    says: 'The weights have the signed digest but are no model file that this version reads.',
  },
  'registry.model-mismatch': {
    category: 'security',
    retry: false,
    says: 'The model inside the weights was made for another schema or other sources than its manifest says.',
  },
  'registry.unverified-construction': {
    category: 'security',
    retry: false,
    says: 'Something tried to make a verified model without verification.',
  },
  'registry.export-exists': {
    category: 'validation',
    retry: false,
    says: 'The folder to export to exists already; exports never overwrite.',
  },
} as const satisfies ErrorCatalogue;

export type RegistryErrorCode = keyof typeof REGISTRY_ERRORS;

export class RegistryError extends GuardianError {
  constructor(code: RegistryErrorCode, message: string, options?: GuardianErrorOptions) {
    super(REGISTRY_ERRORS, code, message, options);
  }
}
