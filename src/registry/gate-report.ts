import { z } from 'zod';
import type { Digest } from '../base/index.ts';

/** One gate a candidate has to pass. */
export interface GateResult {
  readonly name: string;
  readonly passed: boolean;
  readonly value: number;
  readonly threshold: number;
  /** How value must stand to threshold. */
  readonly comparison: '>=' | '<=';
  /** Ends of the value's 95 % interval, where it has one; version 2. */
  readonly low?: number;
  readonly high?: number;
  /** What the number is of: a column, a kind, counts; version 2. */
  readonly detail?: string;
}

/** A gate that could not be run: it neither passed nor failed. */
export interface SkippedGate {
  readonly name: string;
  readonly reason: string;
}

/** What the gates said of one model on one set of data. Version 1 has neither intervals nor details nor skipped gates. */
export interface GateReport {
  readonly v: 1 | 2;
  /** True only if every gate passed. */
  readonly passed: boolean;
  readonly gates: readonly GateResult[];
  /** Version 2 only. */
  readonly skipped?: readonly SkippedGate[];
  /** Of the data the gates were run on. */
  readonly dataDigest: Digest;
  /** Of the model's plaintext bytes. */
  readonly modelDigest: Digest;
  readonly metrics: Readonly<Record<string, unknown>>;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
}

export const digestField = z.custom<Digest>(
  (value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value),
  'expected sha256: and 64 hexadecimal digits',
);

export const timeField = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);

const CONTRADICTION = 'a gate says passed where its value does not, or the other way round';

const GATE_FIELDS = {
  name: z.string().min(1).max(128),
  passed: z.boolean(),
  value: z.number(),
  threshold: z.number(),
  comparison: z.enum(['>=', '<=']),
};

const GATE_2_FIELDS = {
  ...GATE_FIELDS,
  low: z.number().exactOptional(),
  high: z.number().exactOptional(),
  detail: z.string().max(256).exactOptional(),
};

const REPORT_FIELDS = {
  passed: z.boolean(),
  dataDigest: digestField,
  modelDigest: digestField,
  metrics: z.record(z.string(), z.unknown()),
  createdAt: timeField,
};

/** A report that contradicts itself does not parse. */
export const GATE_REPORT = z
  .discriminatedUnion('v', [
    z.strictObject({
      v: z.literal(1),
      ...REPORT_FIELDS,
      gates: z.array(z.strictObject(GATE_FIELDS).refine(isConsistent, CONTRADICTION)).min(1).max(256),
    }),
    z.strictObject({
      v: z.literal(2),
      ...REPORT_FIELDS,
      gates: z.array(z.strictObject(GATE_2_FIELDS).refine(isConsistent, CONTRADICTION)).min(1).max(256),
      skipped: z
        .array(z.strictObject({ name: z.string().min(1).max(128), reason: z.string().max(512) }))
        .max(256),
    }),
  ])
  .refine(
    ({ passed, gates }) => passed === gates.every((gate) => gate.passed),
    'the report must pass exactly when every gate does',
  );

function isConsistent({ passed, value, threshold, comparison }: GateResult): boolean {
  return passed === (comparison === '>=' ? value >= threshold : value <= threshold);
}
