import { z } from 'zod';

const MIB = 1024 * 1024;

const breakerConfigSchema = z.strictObject({
  minimumCalls: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(10)
    .describe('calls in ten seconds before it opens'),
  failureShare: z.number().gt(0).max(1).default(0.5).describe('share of them that must have failed'),
  openMs: z
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(5_000)
    .describe('until the first probe; doubles with each that fails'),
  maxOpenMs: z.number().int().min(100).max(3_600_000).default(60_000),
  jitter: z.number().min(0).max(0.9).default(0.2).describe('spread of that pause, as a share of it'),
  timeoutCalls: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(3)
    .describe('calls in a row that ran out of time until it opens: ten seconds hold few of those'),
  corruptCalls: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(3)
    .describe('answers that are no probabilities until the model is taken out, for good'),
});

const shadowConfigSchema = z.strictObject({
  queueRows: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(8_192)
    .describe('rows that wait to be compared; what comes on top is dropped and counted'),
  maxShare: z.number().gt(0).max(1).default(0.2).describe('share of time that comparing may take'),
});

const rolloutConfigSchema = z
  .strictObject({
    kind: z.enum(['shadow', 'canary']),
    name: z.string().min(1).max(63),
    version: z.string().min(1).max(100),
    percent: z.number().gt(0).max(100).optional().describe('share of the sources for which a canary decides'),
  })
  .refine(({ kind, percent }) => (kind === 'canary') === (percent !== undefined), {
    message: 'expected percent for a canary, and not for a shadow',
  });

/** Fields of the section `inference` that rule which models are at hand and how they are trusted. */
export const SERVICE_CONFIG_FIELDS = {
  modelMemoryBytes: z
    .number()
    .int()
    .min(MIB)
    .max(2 ** 40)
    .default(512 * MIB)
    .describe('memory of the models at hand; those that do not serve go, the one unused longest first'),
  breaker: breakerConfigSchema.prefault({}).describe('when a model that fails is no longer asked'),
  shadow: shadowConfigSchema.prefault({}).describe('what comparing two versions may cost'),
  rollouts: z
    .array(rolloutConfigSchema)
    .max(64)
    .refine((rollouts) => new Set(rollouts.map(({ name }) => name)).size === rollouts.length, {
      message: 'expected one rollout a model',
    })
    .default([])
    .describe('versions that run beside the champion from the start on'),
} as const;

export type BreakerConfig = z.output<typeof breakerConfigSchema>;
export type ShadowConfig = z.output<typeof shadowConfigSchema>;
export type RolloutConfig = z.output<typeof rolloutConfigSchema>;

export const BREAKER_DEFAULTS: BreakerConfig = breakerConfigSchema.parse({});
export const SHADOW_DEFAULTS: ShadowConfig = shadowConfigSchema.parse({});
