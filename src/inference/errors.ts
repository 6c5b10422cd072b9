import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';
import type { RefusalReason } from './admission/refusal.ts';

/** Codes of `inference`. */
export const INFERENCE_ERRORS = {
  'inference.not-verified': {
    category: 'security',
    retry: false,
    says: 'Something other than a verified model was handed to the engine. Verify it through the registry.',
  },
  'inference.no-model': {
    category: 'model',
    retry: true,
    says: 'No model of this name is loaded, so nothing can be scored. Promote one.',
  },
  'inference.schema-mismatch': {
    category: 'validation',
    retry: false,
    says: 'The features, or the model to be loaded, were made by another schema than the one in use.',
  },
  'inference.bad-batch': {
    category: 'validation',
    retry: false,
    says: 'The batch does not have the rows and columns that it declares.',
  },
  'inference.warm-up-failed': {
    category: 'model',
    retry: false,
    says: 'The model failed on its first batches and was not loaded; the one before it stays.',
  },
  'inference.overloaded': {
    category: 'resource',
    retry: true,
    says: 'There is no room for the request: concurrency, queue-delay, deadline, priority or throttled, as the message says.',
  },
  'inference.timeout': {
    category: 'resource',
    retry: true,
    says: 'The deadline passed before the batch was scored, and the fallback is to reject.',
  },
  'inference.cancelled': {
    category: 'resource',
    retry: false,
    says: 'The caller withdrew the request.',
  },
  'inference.model-failed': {
    category: 'model',
    retry: true,
    says: 'The model failed on a batch, and the fallback is to reject, or failed too.',
  },
  'inference.output-corrupt': {
    category: 'model',
    retry: false,
    says: 'The model answered something that is no probability. After a few such answers it is taken out of service.',
  },
  'inference.breaker-open': {
    category: 'model',
    retry: true,
    says: 'The model failed so often that it is not asked for a while, and the fallback is to reject.',
  },
  'inference.model-memory': {
    category: 'resource',
    retry: true,
    says: 'The model does not fit into inference.modelMemoryBytes beside those that serve; nothing changed.',
  },
  'inference.no-rollout': {
    category: 'validation',
    retry: false,
    says: 'Nothing runs beside the champion of this model, or nothing has yet.',
  },
  'inference.rollout-refused': {
    category: 'validation',
    retry: false,
    says: 'A version cannot run beside the champion as asked; the message says why.',
  },
  'inference.worker-lost': {
    category: 'resource',
    retry: true,
    says: 'The thread that scored the batch ended, and so did the one that tried again. Others take their place.',
  },
  'inference.runtime-lost': {
    category: 'resource',
    retry: true,
    says: 'The process that computed a foreign graph ended: it crashed, or took more memory than it may. Another takes its place.',
  },
  'inference.runtime-missing': {
    category: 'resource',
    retry: false,
    says: 'The model is a foreign graph and onnxruntime-node is not installed; the message says how to.',
  },
  'inference.device-lost': {
    category: 'resource',
    retry: true,
    says: 'The GPU is gone, or refused a batch. The CPU scored it; the GPU is tried again after a pause.',
  },
  'inference.device-wrong': {
    category: 'resource',
    retry: false,
    says: 'The GPU gave another answer than the CPU. The CPU scored the batch; the GPU is not used again until a restart.',
  },
  'inference.unexpected-model': {
    category: 'model',
    retry: false,
    says: 'The model is not the one that the configuration expects; the message says what differs.',
  },
  'inference.offer-refused': {
    category: 'security',
    retry: false,
    says: 'What came over the bus as a model, a list of models or a batch does not have its form or its digest; it was not used.',
  },
  'inference.trust-invalid': {
    category: 'validation',
    retry: false,
    says: 'The file of keys and roots whose models a worker takes cannot be read, or holds none.',
  },
  'inference.config-invalid': {
    category: 'validation',
    retry: false,
    says: 'The inference configuration has an unknown key or a value outside its range; the message names it.',
  },
} as const satisfies ErrorCatalogue;

export type InferenceErrorCode = keyof typeof INFERENCE_ERRORS;

export interface InferenceErrorOptions extends GuardianErrorOptions {
  readonly refusal?: RefusalReason | undefined;
}

export class InferenceError extends GuardianError {
  /** Why work was refused: of `inference.overloaded`. */
  readonly refusal: RefusalReason | undefined;

  constructor(code: InferenceErrorCode, message: string, options?: InferenceErrorOptions) {
    super(INFERENCE_ERRORS, code, message, options);
    this.refusal = options?.refusal;
  }
}
