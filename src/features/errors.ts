import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

export const FEATURE_ERRORS = {
  'features.schema-malformed': {
    category: 'validation',
    retry: false,
    says: 'The feature schema is not valid; the message names the place and what was expected there.',
  },
  'features.schema-unknown': {
    category: 'validation',
    retry: false,
    says: 'No feature schema of this name is packaged and no file lies at this path.',
  },
  'features.schema-unsupported': {
    category: 'validation',
    retry: false,
    says: 'The schema is valid but of another kind, or names a flow column that this extractor cannot compute.',
  },
  'features.missing-column': {
    category: 'validation',
    retry: false,
    says: 'An event lacks a column of the schema, or holds null where the schema allows no missing value.',
  },
  'features.unknown-column': {
    category: 'validation',
    retry: false,
    says: 'An event holds a key that the schema does not name.',
  },
  'features.wrong-type': {
    category: 'validation',
    retry: false,
    says: 'A value is not of the type that the schema declares for its column.',
  },
  'features.unknown-category': {
    category: 'validation',
    retry: false,
    says: 'A category is not in the closed list of its column.',
  },
  'features.not-finite': {
    category: 'validation',
    retry: false,
    says: 'A value is not a finite number.',
  },
  'features.out-of-range': {
    category: 'validation',
    retry: false,
    says: 'A value lies outside the range of its column and the column says reject.',
  },
  'features.missing-value': {
    category: 'validation',
    retry: false,
    says: 'A row has no value in a column that must have one.',
  },
  'features.row-width': {
    category: 'validation',
    retry: false,
    says: 'A row has another number of cells than the table.',
  },
  'features.label-invalid': {
    category: 'validation',
    retry: false,
    says: 'A row has no label, or one that is not in the list of labels of the schema.',
  },
  'features.flow-malformed': {
    category: 'validation',
    retry: false,
    says: 'A flow record lacks a finite start or end, a protocol number or a port, or is of another source kind than its batch.',
  },
  'features.table-malformed': {
    category: 'validation',
    retry: false,
    says: 'The table does not fit the schema: its header, or more rows than allowed; the message names a line.',
  },
  'features.table-too-large': {
    category: 'resource',
    retry: false,
    says: 'The table has more rows or values than the limit.',
  },
  'features.table-unreadable': {
    category: 'resource',
    retry: true,
    says: 'The file of the table could not be opened or read.',
  },
  'features.batch-malformed': {
    category: 'validation',
    retry: false,
    says: 'A feature batch has another schema, shape or kind of value than its schema says.',
  },
  'features.backend-shape': {
    category: 'validation',
    retry: false,
    says: 'An array given to a feature backend has the wrong length, or bin edges do not ascend; the message says which.',
  },
  'features.device-lost': {
    category: 'resource',
    retry: true,
    says: 'The GPU was lost or refused work; the guardian computes on the CPU from then on.',
  },
} as const satisfies ErrorCatalogue;

export type FeatureErrorCode = keyof typeof FEATURE_ERRORS;

export class FeatureError extends GuardianError {
  constructor(code: FeatureErrorCode, message: string, options?: GuardianErrorOptions) {
    super(FEATURE_ERRORS, code, message, options);
  }
}
