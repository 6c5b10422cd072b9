import { z } from 'zod';
import type { Milliseconds } from '../base/index.ts';
import { ResponseError } from './errors.ts';
import { NetworkSet } from './network-set.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const networkEntry = z.union([
  z.string().transform((network) => ({ network, reason: 'configured' })),
  z.strictObject({
    network: z.string(),
    reason: z.string().max(200).default('configured'),
    expiresMs: z.number().int().positive().optional(),
  }),
]);

/** The section `response` of the configuration. Every field has a default; unknown keys are refused. */
export const responseConfigSchema = z.strictObject({
  mode: z.enum(['observe', 'enforce']).default('observe').describe('observe: nothing acts'),
  allowList: z.array(networkEntry).default([]).describe('vetoes actions, never detections'),
  protect: z.array(networkEntry).default([]).describe('besides what the machine itself is found to need'),
  actionTtlMs: z.number().int().positive().default(HOUR_MS).describe('how long an action stands'),
  maxActionTtlMs: z
    .number()
    .int()
    .positive()
    .default(4 * HOUR_MS)
    .describe('no action stands longer'),
  actionsPerMinute: z.number().int().min(0).default(10),
  maxStandingActions: z.number().int().min(0).default(1_000),
  outboundKinds: z
    .array(z.string())
    .default(['beaconing', 'exfiltration', 'dns-tunnel'])
    .describe(
      'kinds whose source is the victim: blocking it would cut off an own host, so nothing is proposed',
    ),
  scope: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{0,62}$/)
    .default('this-host')
    .describe('the one sensor an action belongs to; it stands nowhere else'),
});

export type ResponseConfig = z.output<typeof responseConfigSchema>;

/** What decisions are made by: validated, parsed, immutable. */
export interface Policy {
  readonly mode: 'observe' | 'enforce';
  readonly allowList: NetworkSet;
  readonly protectedSet: NetworkSet;
  readonly actionTtlMs: Milliseconds;
  readonly maxActionTtlMs: Milliseconds;
  readonly actionsPerMinute: number;
  readonly maxStandingActions: number;
  readonly outboundKinds: ReadonlySet<string>;
  readonly scope: string;
}

export interface PolicyParts {
  /** What must stay reachable for this machine, from `readMachineAddresses`. */
  readonly protectedSet?: NetworkSet;
  /** Whether something is installed that can carry an action out. */
  readonly hasActuator?: boolean;
}

/**
 * Builds a policy. Throws `response.policy-invalid`, `response.bad-network`, and `response.no-actuator` where
 * enforcing is asked for and nothing could act.
 */
export function createPolicy(
  config: z.input<typeof responseConfigSchema> = {},
  parts: PolicyParts = {},
): Policy {
  const parsed = responseConfigSchema.safeParse(config);
  if (!parsed.success) {
    const says = z.prettifyError(parsed.error).replaceAll('\n', '; ');
    throw new ResponseError('response.policy-invalid', says, { cause: parsed.error });
  }
  const values = parsed.data;
  if (values.mode === 'enforce' && parts.hasActuator !== true) {
    throw new ResponseError('response.no-actuator', 'enforce was asked for, but no actuator is installed');
  }
  return Object.freeze({
    mode: values.mode,
    allowList: new NetworkSet(values.allowList.map(asEntry)),
    protectedSet: (parts.protectedSet ?? new NetworkSet()).with(values.protect.map(asEntry)),
    actionTtlMs: values.actionTtlMs,
    maxActionTtlMs: values.maxActionTtlMs,
    actionsPerMinute: values.actionsPerMinute,
    maxStandingActions: values.maxStandingActions,
    outboundKinds: new Set(values.outboundKinds),
    scope: values.scope,
  });
}

function asEntry(entry: { network: string; reason: string; expiresMs?: number | undefined }) {
  const { network, reason, expiresMs } = entry;
  return expiresMs === undefined ? { network, reason } : { network, reason, expiresMs };
}
