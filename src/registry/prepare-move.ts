import type { Digest } from '../base/index.ts';
import { canonicalJson, isKeysAway, sha256 } from '../crypto/index.ts';
import { approvalsRequired, checkApprovals } from './approvals.ts';
import type { Actor, RegistryContext } from './context.ts';
import { runDoorGates } from './door-gates.ts';
import { VerifiedModel } from './verify.ts';
import { findPublication, verifyStored } from './version-files.ts';

/** Finds a model that was verified before and is still in memory. */
export type Resident = (name: string, version: string) => VerifiedModel | undefined;

/** Throws where a verified model may not take the place that an alias would give it. */
export type AcceptModel = (model: VerifiedModel) => void;

/** What is known of a move before its intent is written. */
export interface PreparedMove {
  readonly approvals: readonly string[];
  readonly approvalsRequired: 1 | 2;
  readonly approvalIntents: readonly number[];
  readonly gates: 'submitter' | 'evaluator';
  readonly evidence: Digest | null;
  readonly manifestDigest: Digest;
  /** The evaluator's report, to be stored. */
  readonly signed?: Uint8Array;
  readonly gatesPassed: boolean;
}

/** Verified, approved, and gated again where there are data for it. */
export async function preparePromotion(
  context: RegistryContext,
  { name, version }: { name: string; version: string },
  by: Actor,
  accept: AcceptModel = () => {},
): Promise<PreparedMove> {
  const { model, weights } = await verifyStored(context, name, version);
  accept(model);
  const required = approvalsRequired(context, by);
  const approved = required === 2 ? checkApprovals(context, model, required) : [];
  const common = {
    approvals: required === 2 ? approved.map(({ principal }) => principal) : [by.principal],
    approvalsRequired: required,
    approvalIntents: approved.map(({ intent }) => intent),
    manifestDigest: sha256(canonicalJson(model.manifest)),
  };
  if (!model.gates.passed) {
    return { ...common, gates: 'submitter', evidence: null, gatesPassed: false };
  }
  const door = await runDoorGates(context, { name, version }, model, weights);
  return door.gates === 'submitter'
    ? { ...common, gates: 'submitter', evidence: null, gatesPassed: door.passed }
    : {
        ...common,
        gates: 'evaluator',
        evidence: door.evidence,
        signed: door.signed,
        gatesPassed: door.passed,
      };
}

/** The way back asks one operator and no gates: the version passed them when it was promoted. */
export async function prepareRollback(
  context: RegistryContext,
  { name, alias, version }: { name: string; alias: string; version: string },
  by: Actor,
  resident: Resident,
  accept: AcceptModel = () => {},
): Promise<PreparedMove> {
  const model = await verifyOrResident(context, name, version, resident);
  accept(model);
  const { manifest } = model;
  const before = context.index
    .moves(name, alias)
    .findLast((move) => move.action === 'promote' && move.version === version);
  return {
    approvals: [by.principal],
    approvalsRequired: 1,
    approvalIntents: [],
    gates: before?.gates ?? 'submitter',
    evidence: before?.evidence ?? null,
    manifestDigest: sha256(canonicalJson(manifest)),
    gatesPassed: true,
  };
}

/**
 * Verifies what is stored; while the key store is away, a model that was verified before and is still held in memory
 * stands in for it, where it is the one the log knows.
 */
async function verifyOrResident(
  context: RegistryContext,
  name: string,
  version: string,
  resident: Resident,
): Promise<VerifiedModel> {
  try {
    return (await verifyStored(context, name, version)).model;
  } catch (error) {
    const held = isKeyStoreAway(error) ? resident(name, version) : undefined;
    if (held === undefined || !VerifiedModel.isVerified(held)) throw error;
    const { manifestDigest } = await findPublication(context, name, version);
    if (
      held.name !== name ||
      held.version !== version ||
      sha256(canonicalJson(held.manifest)) !== manifestDigest
    ) {
      throw error;
    }
    return held;
  }
}

/** Whether an error, or what caused it, is that the keys cannot be reached for now; and not that something is wrong. */
export function isKeyStoreAway(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (isKeysAway(at)) return true;
  return false;
}
