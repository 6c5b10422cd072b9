import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `training`. */
export const TRAINING_ERRORS = {
  'training.config-invalid': {
    category: 'validation',
    retry: false,
    says: 'The training configuration has an unknown key or a value outside its range; the message names it.',
  },
  'training.table-invalid': {
    category: 'validation',
    retry: false,
    says: 'The rows, labels or types of the training table do not fit each other or the schema.',
  },
  'training.too-few-rows': {
    category: 'validation',
    retry: false,
    says: 'A class has too few rows to train on and to hold some out; bring more rows.',
  },
} as const satisfies ErrorCatalogue;

export type TrainingErrorCode = keyof typeof TRAINING_ERRORS;

export class TrainingError extends GuardianError {
  constructor(code: TrainingErrorCode, message: string, options?: GuardianErrorOptions) {
    super(TRAINING_ERRORS, code, message, options);
  }
}
