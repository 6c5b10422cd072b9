import { z } from 'zod';
import { alertsConfigSchema } from './alerts/index.ts';
import { type ConfigurationSources, type ResolvedConfiguration, resolveConfiguration } from './base/index.ts';
import { inferenceConfigSchema } from './inference/index.ts';
import { monitorConfigSchema } from './monitor/index.ts';
import { responseConfigSchema } from './response/index.ts';
import { METER_DEFAULTS } from './traffic/index.ts';
import { gateConfigSchema, trainingConfigSchema } from './training/index.ts';

/** Which model watches, and what is expected of it. Names are kept from the specification. */
const modelConfigSchema = z.strictObject({
  modelPath: z
    .string()
    .min(1)
    .max(300)
    .default('flow@champion')
    .describe('registry reference; always verified before it is loaded'),
  modelVersion: z.string().nullable().default(null).describe('refuse to run any other version'),
  featureColumns: z
    .array(z.string())
    .nullable()
    .default(null)
    .describe("must equal the schema's columns; left out, the schema's are used"),
  versioningStrategy: z.enum(['semver', 'timestamp', 'digest']).default('semver'),
});

const milliseconds = (fallback: number) =>
  z
    .number()
    .min(1)
    .max(24 * 3_600_000)
    .default(fallback);

const meterConfigSchema = z.strictObject({
  idleTimeoutMs: milliseconds(METER_DEFAULTS.idleTimeoutMs),
  attemptTimeoutMs: milliseconds(METER_DEFAULTS.attemptTimeoutMs),
  activeTimeoutMs: milliseconds(METER_DEFAULTS.activeTimeoutMs),
  maxFlows: z
    .number()
    .int()
    .min(1_000)
    .max(1 << 24)
    .default(METER_DEFAULTS.maxFlows)
    .describe('open flows; the one silent longest is ended for a new one'),
});

const serverConfigSchema = z.strictObject({
  host: z.string().default('127.0.0.1').describe('loopback only until TLS can be configured'),
  port: z.number().int().min(0).max(65_535).default(8411),
});

/** The whole of `guardian.yaml`: a section for each part, a default for each field. */
export const configurationSchema = z.strictObject({
  model: modelConfigSchema.prefault({}),
  inference: inferenceConfigSchema.prefault({}),
  response: responseConfigSchema.prefault({}),
  alerts: alertsConfigSchema.prefault({}),
  meter: meterConfigSchema.prefault({}),
  training: trainingConfigSchema.prefault({}),
  gates: gateConfigSchema.prefault({}),
  monitor: monitorConfigSchema.prefault({}),
  server: serverConfigSchema.prefault({}),
  log: z
    .strictObject({ level: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('warn') })
    .prefault({}),
});

export type Configuration = z.output<typeof configurationSchema>;

/** Resolves the configuration in force. Throws `base.config-invalid`. */
export function readConfiguration(
  sources: ConfigurationSources,
): Promise<ResolvedConfiguration<Configuration>> {
  return resolveConfiguration(configurationSchema, sources);
}
