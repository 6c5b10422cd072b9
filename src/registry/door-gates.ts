import { type Digest, GuardianError } from '../base/index.ts';
import { isDigest, sha256 } from '../crypto/index.ts';
import type { RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import { type EvaluatorReport, signEvaluatorReport, verifyEvaluatorReport } from './evaluator-report.ts';
import type { EvaluationResult } from './gate-evaluator.ts';
import type { GateData } from './log-index.ts';
import { VERIFICATION_STEPS, type VerifiedModel } from './verify.ts';
import { verifyStored } from './version-files.ts';

/** Whose gates counted, and the evaluator's signed report where it was the registry's own. */
export type DoorGates =
  | { readonly gates: 'submitter'; readonly passed: boolean }
  | {
      readonly gates: 'evaluator';
      readonly passed: boolean;
      readonly report: EvaluatorReport;
      /** The envelope's bytes and their digest. */
      readonly signed: Uint8Array;
      readonly evidence: Digest;
    };

/** Where a signed report lies. */
export function evidenceBlob(evidence: Digest): string {
  return `evidence/${evidence.replace('sha256:', '')}.json`;
}

/**
 * Runs the gates again on the data registered for the name, and signs what came out with the evaluator's key. Without
 * data the submitter's report counts where policy lets it. Throws `registry.gate-data-missing`,
 * `registry.gate-data-changed`, `registry.gate-data-unfit`; a gate that fails is a value.
 */
export async function runDoorGates(
  context: RegistryContext,
  as: { readonly name: string; readonly version: string },
  candidate: VerifiedModel,
  weights: Uint8Array,
): Promise<DoorGates> {
  const data = context.index.gateData(as.name);
  if (data === undefined || context.evaluator === undefined) {
    if (context.policy.gates === 'submitter') return { gates: 'submitter', passed: candidate.gates.passed };
    throw new RegistryError('registry.gate-data-missing', `no gate data are registered for ${as.name}`);
  }
  if (data.schemaId !== candidate.schemaId) {
    throw new RegistryError(
      'registry.gate-data-unfit',
      `the gate data of ${as.name} are read by another schema than the model's; register new ones`,
    );
  }
  const { champion, note } = await findChampion(context, as, candidate);
  const result = await evaluate(context, { data, candidate, weights, ...(champion && { champion }) });
  const report: EvaluatorReport = {
    v: 1,
    ...as,
    digest: candidate.digest,
    schemaId: candidate.schemaId,
    gates: result.gates,
    data: { digest: result.digest, rows: result.rows, attacks: result.attacks },
    drift: result.drift,
    driftNote: note,
    securityChecks: Object.keys(VERIFICATION_STEPS),
    createdAt: new Date(context.clock.now()).toISOString(),
  };
  const signed = await signEvaluatorReport(context.keys, report);
  // Read back as everybody else will: a report that does not parse is refused here and not years later.
  await verifyEvaluatorReport(context.keys, signed);
  return { gates: 'evaluator', passed: report.gates.passed, report, signed, evidence: sha256(signed) };
}

/** Reads a report by its digest. Throws `registry.evidence-tampered`. */
export async function readEvidence(
  context: RegistryContext,
  evidence: Digest,
): Promise<EvaluatorReport & { readonly signedBy: string }> {
  const blob = evidenceBlob(evidence);
  if (!isDigest(evidence) || !(await context.blobs.has(blob))) {
    throw new RegistryError('registry.evidence-tampered', `the report ${evidence} is gone`);
  }
  const bytes = await context.blobs.get(blob);
  if (sha256(bytes) !== evidence) {
    throw new RegistryError('registry.evidence-tampered', `the report ${evidence} was changed`);
  }
  return await verifyEvaluatorReport(context.keys, bytes);
}

async function evaluate(
  context: RegistryContext,
  given: { data: GateData; candidate: VerifiedModel; weights: Uint8Array; champion?: VerifiedModel },
): Promise<EvaluationResult> {
  const { data, candidate, weights, champion } = given;
  const { path, labels, digest } = data;
  let result: EvaluationResult | undefined;
  try {
    result = await context.evaluator?.evaluate({
      files: { path, ...(labels !== undefined && { labels }) },
      digest,
      candidate,
      weights,
      ...(champion && { champion }),
    });
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    throw new RegistryError('registry.gate-data-unfit', `the gates of ${data.name} could not be run`, {
      cause,
    });
  }
  if (result?.digest !== digest || result.gates.dataDigest !== digest) {
    throw new RegistryError(
      'registry.gate-data-changed',
      `the gate data of ${data.name} are not those registered at audit entry ${data.intent}`,
    );
  }
  if (result.gates.modelDigest !== candidate.digest) {
    throw new RegistryError('registry.gate-data-unfit', 'the evaluator judged another model');
  }
  return result;
}

/** A champion that cannot be compared is no reason to keep it: the note says why there is no drift. */
async function findChampion(
  context: RegistryContext,
  as: { readonly name: string; readonly version: string },
  candidate: VerifiedModel,
): Promise<{ champion?: VerifiedModel; note: string }> {
  const version = context.index.moves(as.name, 'champion').at(-1)?.version;
  if (version === undefined) return { note: 'there is no champion yet' };
  if (version === as.version) return { note: 'the candidate is the champion' };
  try {
    const { model } = await verifyStored(context, as.name, version);
    if (model.schemaId !== candidate.schemaId) return { note: `the champion ${version} has another schema` };
    return { champion: model, note: `compared with the champion ${version}` };
  } catch (error) {
    const reason = error instanceof GuardianError ? error.code : 'unexpected failure';
    return { note: `the champion ${version} could not be verified: ${reason}` };
  }
}
