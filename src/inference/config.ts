import { z } from 'zod';
import { DRIFT_DEFAULTS, OPERATING_POINTS } from '../models/index.ts';
import { InferenceError } from './errors.ts';
import { EXECUTION_PROVIDERS, runtimeConfigSchema } from './runtime/config.ts';
import { SERVICE_CONFIG_FIELDS } from './service/config.ts';

/** The section `inference` of the configuration. */
export const inferenceConfigSchema = z.strictObject({
  batchSize: z.number().int().min(1).max(65_536).default(1_024).describe('rows scored without a pause'),
  timeoutMs: z
    .number()
    .int()
    .min(1)
    .max(600_000)
    .default(5_000)
    .describe('deadline of a request without one'),
  confidenceThreshold: z
    .number()
    .min(0.5)
    .max(1)
    .default(0.5)
    .describe('below it the engine abstains; 0.5 never abstains'),
  operatingPoint: z
    .enum(OPERATING_POINTS)
    .optional()
    .describe('which of its thresholds a model that has several decides by; the one it was trained for'),
  maxConcurrentRequests: z
    .number()
    .int()
    .min(1)
    .max(65_536)
    .default(64)
    .describe('requests that are under way or wait; what is scored at once does not count'),
  workers: z
    .number()
    .int()
    .min(0)
    .max(256)
    .optional()
    .describe('threads that score batches; one less than the cores by default, 0 scores on the main thread'),
  pool: z
    .enum(['threads', 'bus'])
    .default('threads')
    .describe('who scores batches: threads here, or inference workers over the bus while there are any'),
  batchWaitMs: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe('how long a batch waits for more rows while a thread is free'),
  fallbackStrategy: z
    .enum(['last-known-good', 'rules', 'abstain', 'reject'])
    .default('last-known-good')
    .describe('what answers when the model fails or the deadline passes'),
  certificate: z
    .strictObject({
      windowRows: z
        .number()
        .int()
        .min(100)
        .max(1_000_000)
        .default(1_000)
        .describe('live rows of a source kind that are compared at once; a shift is met within two windows'),
      sampleEvery: z
        .number()
        .int()
        .min(1)
        .max(10_000)
        .default(1)
        .describe('each n-th live row is compared, so that a window spans n times as many'),
      falseDiscoveryRate: z.number().gt(0).max(0.5).default(DRIFT_DEFAULTS.falseDiscoveryRate),
      minPsi: z
        .number()
        .min(0)
        .max(10)
        .default(DRIFT_DEFAULTS.minPsi)
        .describe('population stability index below which a shift of a column does not matter'),
    })
    .prefault({})
    .describe('when live traffic is like the data a certificate rests on'),
  provider: z
    .enum(EXECUTION_PROVIDERS)
    .default('auto')
    .describe(
      'what computes models; auto: a GPU for batches that are faster there, as measured at start; webgpu: for every batch',
    ),
  gpuMemoryMiB: z
    .number()
    .int()
    .min(16)
    .max(65_536)
    .default(512)
    .describe('tables and buffers of models on the GPU; what was unused longest is evicted'),
  onnx: runtimeConfigSchema.prefault({}).describe('processes that compute foreign graphs, one a model'),
  ...SERVICE_CONFIG_FIELDS,
});

export type InferenceConfig = z.output<typeof inferenceConfigSchema>;

/** Fills in the defaults. Throws `inference.config-invalid`. */
export function readInferenceConfig(config: z.input<typeof inferenceConfigSchema> = {}): InferenceConfig {
  const parsed = inferenceConfigSchema.safeParse(config);
  if (parsed.success) return Object.freeze(parsed.data);
  const says = z.prettifyError(parsed.error).replaceAll('\n', '; ');
  throw new InferenceError('inference.config-invalid', says, { cause: parsed.error });
}
