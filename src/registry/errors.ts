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
  'registry.approvals-missing': {
    category: 'model',
    retry: false,
    says: 'Policy wants more people to approve the version first: `guardian models approve NAME@VERSION`.',
  },
  'registry.approver-is-author': {
    category: 'validation',
    retry: false,
    says: 'Whoever published or imported a version cannot approve it; somebody else has to.',
  },
  'registry.gate-data-missing': {
    category: 'model',
    retry: false,
    says: 'Policy wants the gates run here, and no data are registered for the model: `guardian models gate-data add`.',
  },
  'registry.gate-data-unfit': {
    category: 'validation',
    retry: false,
    says: 'The gate data cannot be read, hold only one class, or belong to another schema than the model.',
  },
  'registry.gate-data-changed': {
    category: 'security',
    retry: false,
    says: 'The gate data have another digest than was registered; no gate was judged on them.',
  },
  'registry.evidence-tampered': {
    category: 'security',
    retry: false,
    says: 'The signed report of the evaluator is gone, was changed, or was signed by somebody else.',
  },
  'registry.certification-refused': {
    category: 'model',
    retry: false,
    says: 'The decisions on the registered data do not show what was asked for; the message says how many are wanting.',
  },
  'registry.certification-unfit': {
    category: 'validation',
    retry: false,
    says: 'A certificate cannot be made of this: the model was trained on these data, or the terms are out of range.',
  },
  'registry.certification-mismatch': {
    category: 'security',
    retry: false,
    says: "A version's certificate was changed, or speaks of another model, schema, data or origin than the log says.",
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
  'registry.second-signature-missing': {
    category: 'security',
    retry: false,
    says: 'The model has no second signature by ML-DSA-65, which the policy, the log or the given keys demand.',
  },
  'registry.signer-untrusted': {
    category: 'security',
    retry: false,
    says: 'The model was signed by a key that is not among the trusted ones, nor certified by a trusted root.',
  },
  'registry.certificate-refused': {
    category: 'security',
    retry: false,
    says: 'A certificate of the signature is malformed, not valid now, or may not do what it is used for.',
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
  'registry.version-erased': {
    category: 'model',
    retry: false,
    says: 'The version was erased: its data key is destroyed (cryptographic erase, NIST SP 800-88) and nothing opens it.',
  },
  'registry.version-pruned': {
    category: 'model',
    retry: false,
    says: 'The version was pruned by the retention policy; its manifest and reports are there, its weights are not.',
  },
  'registry.version-not-erased': {
    category: 'validation',
    retry: false,
    says: 'The version was never erased, so there is no erase to report on.',
  },
  'registry.version-held': {
    category: 'validation',
    retry: false,
    says: 'The version is held and is neither pruned nor erased; release its holds first.',
  },
  'registry.version-in-use': {
    category: 'validation',
    retry: true,
    says: 'The version serves, an alias points at it, or something is under way with it; it cannot be erased now.',
  },
  'registry.tag-invalid': {
    category: 'validation',
    retry: false,
    says: 'A tag has a name or value of another form than allowed, or the version has too many tags.',
  },
  'registry.hold-invalid': {
    category: 'validation',
    retry: false,
    says: 'The end of a hold must be a time in the future.',
  },
  'registry.hold-unknown': {
    category: 'validation',
    retry: false,
    says: 'The version has no such hold, or it was released already.',
  },
  'registry.reason-invalid': {
    category: 'validation',
    retry: false,
    says: 'A reason is one line of 1 to 500 printable characters; it stands in the audit log for good.',
  },
  'registry.escrow-absent': {
    category: 'validation',
    retry: false,
    says: 'The registry was opened without an escrow for key wraps.',
  },
  'registry.escrow-malformed': {
    category: 'security',
    retry: false,
    says: 'A copy of key wraps in escrow was changed or is of another data key; it was not restored.',
  },
  'registry.key-unknown': {
    category: 'validation',
    retry: false,
    says: 'The key store has no key of this id; `guardian keys list` tells them.',
  },
  'registry.key-revoked': {
    category: 'validation',
    retry: false,
    says: 'The key is revoked already, and a revocation is never taken back or moved.',
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
