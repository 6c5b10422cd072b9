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
}

/** What the gates said of one model on one set of data. */
export interface GateReport {
  readonly v: 1;
  /** True only if every gate passed. */
  readonly passed: boolean;
  readonly gates: readonly GateResult[];
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

const GATE = z
  .strictObject({
    name: z.string().min(1).max(128),
    passed: z.boolean(),
    value: z.number(),
    threshold: z.number(),
    comparison: z.enum(['>=', '<=']),
  })
  .refine(
    ({ passed, value, threshold, comparison }) =>
      passed === (comparison === '>=' ? value >= threshold : value <= threshold),
    'a gate says passed where its value does not, or the other way round',
  );

/** A report that contradicts itself does not parse. */
export const GATE_REPORT = z
  .strictObject({
    v: z.literal(1),
    passed: z.boolean(),
    gates: z.array(GATE).min(1).max(256),
    dataDigest: digestField,
    modelDigest: digestField,
    metrics: z.record(z.string(), z.unknown()),
    createdAt: timeField,
  })
  .refine(
    ({ passed, gates }) => passed === gates.every((gate) => gate.passed),
    'the report must pass exactly when every gate does',
  );
