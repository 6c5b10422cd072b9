import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../../base/index.ts';

export const UPDATE_ERRORS = {
  'registry.update-address': {
    category: 'validation',
    retry: false,
    says: 'The address of an update repository must be http or https, without a user, a query or a fragment.',
  },
  'registry.update-root-needed': {
    category: 'validation',
    retry: false,
    says: 'Nothing is trusted about this update repository yet; hand over its root metadata, received another way.',
  },
  'registry.update-root-differs': {
    category: 'security',
    retry: false,
    says: 'Another root than the one handed over is trusted for this update repository already.',
  },
  'registry.update-unreachable': {
    category: 'resource',
    retry: true,
    says: 'The update repository did not answer, or not in time, or has no such file.',
  },
  'registry.update-refused': {
    category: 'security',
    retry: false,
    says: 'The update repository offers metadata that the TUF client workflow refuses; nothing was taken over.',
  },
  'registry.update-expired': {
    category: 'security',
    retry: true,
    says: 'The newest metadata of the update repository is expired: it was abandoned, or someone holds newer ones back.',
  },
  'registry.update-target-refused': {
    category: 'security',
    retry: false,
    says: 'A file of the update repository has a forbidden name, or another length or digest than was signed.',
  },
  'registry.update-model-unknown': {
    category: 'validation',
    retry: false,
    says: 'The update repository offers no such model.',
  },
  'registry.update-model-mismatch': {
    category: 'security',
    retry: false,
    says: 'A model of the update repository is another one than its signed metadata says, or is incomplete.',
  },
  'registry.update-repository-damaged': {
    category: 'security',
    retry: false,
    says: 'The metadata of our own update repository do not verify; they were changed after they were written.',
  },
  'registry.update-root-lost': {
    category: 'security',
    retry: false,
    says: 'No key of the published root can sign any more; clients need a new repository and its new root.',
  },
} as const satisfies ErrorCatalogue;

export type UpdateErrorCode = keyof typeof UPDATE_ERRORS;

export class UpdateError extends GuardianError {
  constructor(code: UpdateErrorCode, message: string, options?: GuardianErrorOptions) {
    super(UPDATE_ERRORS, code, message, options);
  }
}
