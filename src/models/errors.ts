import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `models`. */
export const MODELS_ERRORS = {
  'models.malformed': {
    category: 'model',
    retry: false,
    says: 'The bytes are not a model file of a known version, or a length, index or range in them is wrong.',
  },
  'models.shape-mismatch': {
    category: 'validation',
    retry: false,
    says: 'A row, batch or output buffer does not have the size that the model expects.',
  },
  'models.argument-invalid': {
    category: 'validation',
    retry: false,
    says: 'A number handed to a metric, calibration or certificate lies outside its range.',
  },
  'models.certificate-malformed': {
    category: 'security',
    retry: false,
    says: 'The bytes are no certificate of a known version, or its claims say more than their counts show.',
  },
  'models.onnx-refused': {
    category: 'model',
    retry: false,
    says: 'The ONNX file holds what is never loaded or has no native form; the message names it.',
  },
  'models.needs-runtime': {
    category: 'model',
    retry: false,
    says: 'The model is a foreign graph, which only a runtime in a process of its own computes.',
  },
} as const satisfies ErrorCatalogue;

export type ModelErrorCode = keyof typeof MODELS_ERRORS;

export class ModelError extends GuardianError {
  constructor(code: ModelErrorCode, message: string, options?: GuardianErrorOptions) {
    super(MODELS_ERRORS, code, message, options);
  }
}
