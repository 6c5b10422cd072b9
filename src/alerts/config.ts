import { z } from 'zod';
import { parseNetwork } from '../response/index.ts';
import { AlertsError } from './errors.ts';
import { PRIVATE_NETWORKS } from './kinds.ts';
import { sinksConfigSchema } from './sinks/config.ts';

/** The section `alerts` of the configuration. */
export const alertsConfigSchema = z.strictObject({
  windowMs: z
    .number()
    .int()
    .min(1_000)
    .max(86_400_000)
    .default(600_000)
    .describe('a finding closes after so long without a flagged flow, in the time of the traffic'),
  maxOpenFindings: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('the oldest is closed early'),
  ownNetworks: z
    .array(z.string().refine((text) => parseNetwork(text) !== undefined, 'expected an address or a network'))
    .default([...PRIVATE_NETWORKS])
    .describe('where our own hosts live: a scan from inside is another technique, and weighs more'),
  minFlows: z
    .record(z.string(), z.number().int().min(1))
    .default({})
    .describe(
      'flagged flows before there is a finding, by kind; 3 by default for kinds plural by nature, else 1',
    ),
  sinks: sinksConfigSchema,
});

export type AlertsConfig = z.output<typeof alertsConfigSchema>;

/** Fills in the defaults. Throws `alerts.config-invalid`. */
export function readAlertsConfig(config: z.input<typeof alertsConfigSchema> = {}): AlertsConfig {
  const parsed = alertsConfigSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  const says = z.prettifyError(parsed.error).replaceAll('\n', '; ');
  throw new AlertsError('alerts.config-invalid', says, { cause: parsed.error });
}
