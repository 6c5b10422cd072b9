import type { Score } from '../models/index.ts';
import type { IpAddress } from './address.ts';
import type { Policy } from './policy.ts';

/** The one action there is: refuse packets from one address, at one sensor, until it expires. */
export interface BlockSource {
  readonly kind: 'block-source';
  /** Canonical address of one host. */
  readonly target: string;
  readonly ttlMs: number;
  /** The sensor it belongs to. */
  readonly scope: string;
}

export type RailName =
  | 'observe-mode'
  | 'certificate'
  | 'protected-set'
  | 'allow-list'
  | 'no-proof-of-source'
  | 'budget'
  | 'expiry';

export interface Veto {
  readonly rail: RailName;
  readonly reason: string;
}

/** What actions stand already, counted in the scope of the policy. */
export interface Standing {
  readonly actions: number;
  readonly startedInLastMinute: number;
  /** The target of this decision stands already, so that deciding again costs no budget. */
  readonly isTargetStanding: boolean;
}

/** Everything a rail may look at. */
export interface Proposal {
  readonly action: BlockSource;
  readonly address: IpAddress;
  readonly certificate: Score['certificate'];
  readonly sourceProven: boolean;
  readonly nowMs: number;
  readonly standing: Standing;
}

interface Rail {
  readonly name: RailName;
  /** Why the proposal may not be carried out; undefined lets it pass. */
  readonly check: (proposal: Proposal, policy: Policy) => string | undefined;
}

/** The fixed order in which a proposal is judged. Each rail is asked, so that a report names every veto. */
export const RAILS: readonly Rail[] = [
  { name: 'observe-mode', check: checkMode },
  { name: 'certificate', check: checkCertificate },
  { name: 'protected-set', check: checkProtectedSet },
  { name: 'allow-list', check: checkAllowList },
  { name: 'no-proof-of-source', check: checkSource },
  { name: 'budget', check: checkBudget },
  { name: 'expiry', check: checkExpiry },
];

function checkMode(_: Proposal, policy: Policy): string | undefined {
  return policy.mode === 'observe' ? 'the guardian observes and does not act' : undefined;
}

function checkCertificate({ certificate }: Proposal): string | undefined {
  return certificate === 'active' ? undefined : `the model's certificate for this site is ${certificate}`;
}

function checkProtectedSet({ address, nowMs }: Proposal, policy: Policy): string | undefined {
  const entry = policy.protectedSet.find(address, nowMs);
  return entry && `${address.text} is protected: ${entry.reason}`;
}

function checkAllowList({ address, nowMs }: Proposal, policy: Policy): string | undefined {
  const entry = policy.allowList.find(address, nowMs);
  return entry && `${address.text} is allowed by ${entry.network}: ${entry.reason}`;
}

function checkSource({ sourceProven }: Proposal): string | undefined {
  return sourceProven ? undefined : 'no completed handshake shows that the source address is genuine';
}

function checkBudget({ standing }: Proposal, policy: Policy): string | undefined {
  if (standing.isTargetStanding) return undefined;
  if (standing.actions >= policy.maxStandingActions) {
    return `${standing.actions} actions stand, at most ${policy.maxStandingActions} may`;
  }
  if (standing.startedInLastMinute >= policy.actionsPerMinute) {
    return `${standing.startedInLastMinute} actions in the last minute, at most ${policy.actionsPerMinute} may start`;
  }
  return undefined;
}

function checkExpiry({ action }: Proposal, policy: Policy): string | undefined {
  if (Number.isFinite(action.ttlMs) && action.ttlMs > 0 && action.ttlMs <= policy.maxActionTtlMs)
    return undefined;
  return `an action must end within ${policy.maxActionTtlMs} ms, this one would after ${action.ttlMs}`;
}
