import { z } from 'zod';
import type { Digest } from '../base/index.ts';
import { canonicalJson, type KeyStore, parseCanonicalJson } from '../crypto/index.ts';
import { RegistryError } from './errors.ts';
import { openByEvaluator, signByEvaluator } from './evaluator-envelope.ts';
import { digestField, GATE_REPORT, type GateReport, timeField } from './gate-report.ts';
import { isName, isVersion } from './names.ts';

/** How a candidate's scores on the same rows differ from the champion's. */
export interface Drift {
  readonly version: string;
  readonly digest: Digest;
  /** Population stability index over ten equal bins of the score; below 0.1 is called stable, above 0.25 a shift. */
  readonly psi: number;
  /** Largest distance of the two score distributions (Kolmogorov-Smirnov). */
  readonly ks: number;
  /** Candidate minus champion, by name of the metric. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** What the registry's own evaluator found at the door. */
export interface EvaluatorReport {
  readonly v: 1;
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  readonly gates: GateReport;
  readonly data: { readonly digest: Digest; readonly rows: number; readonly attacks: number };
  /** Null where there is no champion to compare with; `driftNote` says why. */
  readonly drift: Drift | null;
  readonly driftNote: string;
  /** Steps of verification that the version had passed before it was evaluated. */
  readonly securityChecks: readonly string[];
  /** RFC 3339 UTC. */
  readonly createdAt: string;
}

const PAYLOAD_TYPE = 'application/vnd.ai-guardian.evaluator-report+json';

const REPORT = z.strictObject({
  v: z.literal(1),
  name: z.string().refine(isName),
  version: z.string().refine(isVersion),
  digest: digestField,
  schemaId: digestField,
  gates: GATE_REPORT,
  data: z.strictObject({ digest: digestField, rows: z.int().min(0), attacks: z.int().min(0) }),
  drift: z
    .strictObject({
      version: z.string().refine(isVersion),
      digest: digestField,
      psi: z.number(),
      ks: z.number(),
      metrics: z.record(z.string(), z.number()),
    })
    .nullable(),
  driftNote: z.string().max(256),
  securityChecks: z.array(z.string()).max(64),
  createdAt: timeField,
});

/** Signs a report with the evaluator's key, as a DSSE envelope in canonical JSON. Throws what the key store throws. */
export function signEvaluatorReport(keys: KeyStore, report: EvaluatorReport): Promise<Uint8Array> {
  return signByEvaluator(keys, PAYLOAD_TYPE, Buffer.from(canonicalJson(report)));
}

/** Reads a signed report. Throws `registry.evidence-tampered`. */
export async function verifyEvaluatorReport(
  keys: Pick<KeyStore, 'find'>,
  bytes: Uint8Array,
): Promise<EvaluatorReport & { readonly signedBy: string }> {
  const { payload, signedBy } = await openByEvaluator(keys, PAYLOAD_TYPE, bytes);
  try {
    return { ...REPORT.parse(parseCanonicalJson(Buffer.from(payload).toString('utf8'))), signedBy };
  } catch (cause) {
    throw new RegistryError('registry.evidence-tampered', 'the report is not in the form that is signed', {
      cause,
    });
  }
}
