import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of the lab. */
export const LAB_ERRORS = {
  'lab.recipe-invalid': {
    category: 'validation',
    retry: false,
    says: 'The recipe asks for an unknown attack kind, or for a length or scale outside its range; the message names it.',
  },
  'lab.labels-malformed': {
    category: 'validation',
    retry: false,
    says: 'A labels file has a line that is not seven or more comma-separated fields; the message gives the line.',
  },
} as const satisfies ErrorCatalogue;

export type LabErrorCode = keyof typeof LAB_ERRORS;

export class LabError extends GuardianError {
  constructor(code: LabErrorCode, message: string, options?: GuardianErrorOptions) {
    super(LAB_ERRORS, code, message, options);
  }
}
