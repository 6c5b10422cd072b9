import { auditedAttempt } from './audited-attempt.ts';
import type { Actor, RegistryContext } from './context.ts';
import { evidenceBlob } from './door-gates.ts';
import { RegistryError } from './errors.ts';
import { checkName, checkVersion } from './names.ts';
import { preparePromotion } from './prepare-move.ts';
import type { VerifiedModel } from './verify.ts';

/** Stands in the log for a version that decides for a part of the sources. */
export const CANARY = 'model.canary';

/** A version that may decide although no alias points at it, and the index of the intent that says so. */
export interface Admission {
  readonly name: string;
  readonly version: string;
  readonly percent: number;
  /** Index of the intent in the audit log. */
  readonly intent: number;
  readonly approvals: readonly string[];
  readonly gates: 'submitter' | 'evaluator';
}

/**
 * Lets a version decide for a share of the sources, where it would be promoted: it verifies, it is approved by as many, and
 * it passes its gates once more. No alias moves; `start` runs between intent and outcome. Throws as a promotion does.
 */
export async function admitVersion(
  context: RegistryContext,
  target: { readonly name: string; readonly version: string; readonly percent: number },
  by: Actor,
  start: (model: VerifiedModel) => Promise<void>,
): Promise<Admission> {
  const { name, version, percent } = target;
  checkName(name, 'model name');
  checkVersion(version);
  let verified: VerifiedModel | undefined;
  const accept = (model: VerifiedModel) => {
    verified = model;
  };
  const asked = { percent, approvals: [by.principal] };
  return await auditedAttempt(
    context.log,
    { action: CANARY, principal: by.principal, subject: `${name}@${version}`, asked },
    {
      prepare: () => preparePromotion(context, { name, version }, by, accept),
      detail: ({ signed: _, gatesPassed: __, ...detail }) => ({ percent, ...detail }),
      work: async ({ approvals, gates, evidence, signed, gatesPassed }, intent) => {
        if (evidence !== null && signed !== undefined) {
          await context.blobs.put(evidenceBlob(evidence), signed);
        }
        if (!gatesPassed || verified === undefined) {
          throw new RegistryError('registry.gate-failed', `${name}@${version} did not pass its gates`);
        }
        await start(verified);
        return { name, version, percent, intent, approvals, gates };
      },
    },
  );
}
