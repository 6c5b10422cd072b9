import { z } from 'zod';
import { backendConfigSchema } from './backend/open-backend.ts';

const MIB = 1024 * 1024;

/** The section `features` of the configuration. */
export const featuresConfigSchema = backendConfigSchema.extend({
  latencyTargetMs: z
    .number()
    .min(1)
    .max(60_000)
    .default(100)
    .describe('from the arrival of a flow to its score; batches are made so large that they meet it'),
  cacheBytes: z
    .number()
    .int()
    .min(MIB)
    .max(16 * 1024 * MIB)
    .default(32 * MIB)
    .describe('for each cache of hosts, names and indicators; less while memory is short'),
  hostIdleMs: z
    .number()
    .min(1_000)
    .max(7 * 86_400_000)
    .default(3_600_000)
    .describe('a host silent for so long begins anew'),
  indicatorTtlMs: z.number().min(1_000).max(86_400_000).default(3_600_000),
  indicatorNegativeTtlMs: z.number().min(1_000).max(86_400_000).default(300_000),
});
export type FeaturesConfig = z.output<typeof featuresConfigSchema>;
