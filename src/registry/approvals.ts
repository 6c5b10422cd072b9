import { faultPoint } from '../base/index.ts';
import { auditedAttempt } from './audited-attempt.ts';
import type { Actor, RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import { APPROVE, type Approval } from './log-index.ts';
import { checkName, checkVersion } from './names.ts';
import type { VerifiedModel } from './verify.ts';
import { verifyStored } from './version-files.ts';

const DAY_MS = 24 * 3_600_000;

/**
 * Records that somebody approves a version: its weights, the gate report in its manifest, and the gate data registered
 * now. The log's entry is the approval; nothing else holds it. Throws `registry.approver-is-author`,
 * `registry.gate-failed`, and what verification throws.
 */
export async function approveVersion(
  context: RegistryContext,
  target: { readonly name: string; readonly version: string },
  by: Actor,
): Promise<Approval> {
  const { name, version } = target;
  checkName(name, 'model name');
  checkVersion(version);
  const intent = await auditedAttempt(
    context.log,
    { action: APPROVE, principal: by.principal, subject: `${name}@${version}`, asked: {} },
    {
      prepare: async () => {
        const { model } = await verifyStored(context, name, version);
        if (model.manifest.author === by.principal) {
          throw new RegistryError(
            'registry.approver-is-author',
            `${name}@${version} was published by the one who asks to approve it`,
          );
        }
        if (!model.gates.passed) {
          throw new RegistryError('registry.gate-failed', `${name}@${version} did not pass its gates`);
        }
        return boundTo(context, model);
      },
      detail: (bound) => ({
        ...bound,
        expiresAt: new Date(context.clock.now() + context.policy.approvalDays * DAY_MS).toISOString(),
      }),
      work: async (_, index) => {
        faultPoint('registry.approve.intended');
        return index;
      },
    },
  );
  faultPoint('registry.approve.recorded');
  await context.index.catchUp();
  const approval = context.index.approvals(name, version).find((each) => each.intent === intent);
  if (approval === undefined) {
    throw new RegistryError('registry.version-not-in-log', `the approval of ${name}@${version} is not there`);
  }
  return approval;
}

/**
 * The approvals of a version that count now: bound to what it is, not expired, by people who are not its author; the
 * latest of each.
 */
export function liveApprovals(context: RegistryContext, model: VerifiedModel): readonly Approval[] {
  const bound = boundTo(context, model);
  const now = context.clock.now();
  const byPrincipal = new Map<string, Approval>();
  for (const approval of context.index.approvals(model.name, model.version)) {
    if (
      approval.principal !== model.manifest.author &&
      approval.digest === bound.digest &&
      approval.gateReportDigest === bound.gateReportDigest &&
      approval.gateDataDigest === bound.gateDataDigest &&
      Date.parse(approval.expiresAt) > now
    ) {
      byPrincipal.set(approval.principal, approval);
    }
  }
  return [...byPrincipal.values()];
}

/** How many people have to approve what this one asks for. */
export function approvalsRequired({ policy, keys }: RegistryContext, by?: Actor): 1 | 2 {
  if (policy.approvals !== 'auto') return policy.approvals;
  return keys.kind === 'file' && by?.method !== 'oidc' ? 1 : 2;
}

/** The approvals that two-person control rests on. Throws `registry.approvals-missing`, saying how many are wanting. */
export function checkApprovals(
  context: RegistryContext,
  model: VerifiedModel,
  required: number,
): readonly Approval[] {
  const live = liveApprovals(context, model);
  const wanting = required - live.length;
  if (wanting <= 0) return live;
  throw new RegistryError(
    'registry.approvals-missing',
    `${model.name}@${model.version} has ${live.length} of ${required} approvals, ${wanting} wanting`,
  );
}

/** What an approval is of. A change of the gate data asks for new ones. */
function boundTo(context: RegistryContext, model: VerifiedModel) {
  return {
    digest: model.digest,
    gateReportDigest: model.manifest.gateReportDigest,
    gateDataDigest: context.index.gateData(model.name)?.digest ?? null,
  };
}
