import type { Score } from '../models/index.ts';
import type { Policy } from './policy.ts';
import { type BlockSource, RAILS, type RailName, type Standing, type Veto } from './rails.ts';
import { parseTarget } from './target.ts';

/** Everything a decision is made from; nothing else is read, so a decision can be replayed. */
export interface DecisionInput {
  readonly score: Score;
  /** Source address as the traffic source reported it. */
  readonly source: string;
  /** From `isSourceProven`. */
  readonly sourceProven: boolean;
  /** Milliseconds since 1970 UTC. */
  readonly nowMs: number;
  readonly standing: Standing;
  /** How long the action would stand; the policy's `actionTtlMs` by default. */
  readonly ttlMs?: number;
}

/**
 * - `allow`: the score says benign.
 * - `observe`: noted, no action is proposed (abstained, an own host as source, or no possible target).
 * - `would-block`: only the mode or the certificate held the action back.
 * - `vetoed`: a rail about this very target held it back, in any mode.
 * - `block`: every rail let it pass; needs an actuator.
 */
export type DecisionVerdict = 'allow' | 'observe' | 'would-block' | 'vetoed' | 'block';

export interface Decision {
  readonly verdict: DecisionVerdict;
  /** What was proposed, whether or not it may be done. */
  readonly action?: BlockSource;
  /** One sentence. */
  readonly reason: string;
  /** The rail that decided: the first about the target, else the first. */
  readonly vetoedBy?: RailName;
  /** Every rail that held the action back, in the order of the rails. */
  readonly vetoes: readonly Veto[];
  readonly topFeatures: NonNullable<Score['topFeatures']>;
  readonly confidence: number;
  readonly certificate: Score['certificate'];
  readonly sourceProven: boolean;
}

/** Rails about the guardian's own standing; the others are about the target. */
const STANDING_RAILS: ReadonlySet<RailName> = new Set(['observe-mode', 'certificate']);

/** The response policy: pure, total, and the only maker of actions. */
export function decide(input: DecisionInput, policy: Policy): Decision {
  const { score, sourceProven } = input;
  const context = {
    vetoes: [],
    topFeatures: score.topFeatures ?? [],
    confidence: score.confidence,
    certificate: score.certificate,
    sourceProven,
  };
  if (score.verdict === 'benign') return { ...context, verdict: 'allow', reason: 'scored as benign' };
  if (score.verdict !== 'attack') {
    return {
      ...context,
      verdict: 'observe',
      reason: `the model abstained: ${score.reason ?? 'no reason given'}`,
    };
  }
  if (score.kind !== undefined && policy.outboundKinds.has(score.kind)) {
    const reason = `${score.kind} comes from the affected host itself; blocking it would cut off an own host`;
    return { ...context, verdict: 'observe', reason };
  }
  const target = parseTarget(input.source);
  if ('refused' in target) {
    return { ...context, verdict: 'observe', reason: `no possible target: ${target.refused}` };
  }
  const action: BlockSource = {
    kind: 'block-source',
    target: target.address.text,
    ttlMs: input.ttlMs ?? policy.actionTtlMs,
    scope: policy.scope,
  };
  const proposal = {
    action,
    address: target.address,
    certificate: score.certificate,
    sourceProven,
    nowMs: input.nowMs,
    standing: input.standing,
  };
  const vetoes: Veto[] = [];
  for (const rail of RAILS) {
    const reason = rail.check(proposal, policy);
    if (reason !== undefined) vetoes.push({ rail: rail.name, reason });
  }
  const aboutTarget = vetoes.find(({ rail }) => !STANDING_RAILS.has(rail));
  const deciding = aboutTarget ?? vetoes[0];
  if (deciding === undefined)
    return { ...context, verdict: 'block', action, reason: 'every guard rail let it pass' };
  return {
    ...context,
    verdict: aboutTarget === undefined ? 'would-block' : 'vetoed',
    action,
    reason: deciding.reason,
    vetoedBy: deciding.rail,
    vetoes,
  };
}
