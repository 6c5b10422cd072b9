import type { Score } from '../models/index.ts';
import { parseAddress } from './address.ts';
import { type Decision, type DecisionVerdict, decide } from './decide.ts';
import type { Policy } from './policy.ts';
import type { RailName } from './rails.ts';

/** What one decision needs to know of the flow. */
export interface JudgedFlow {
  readonly score: Score;
  readonly source: string;
  readonly sourceProven: boolean;
  /** Milliseconds since 1970 UTC: wall time when live, the traffic's own time when replaying. */
  readonly nowMs: number;
}

export interface ResponseCounters {
  readonly verdicts: Readonly<Record<DecisionVerdict, number>>;
  /** How often each rail held an action back, alone or with others. */
  readonly vetoes: Readonly<Partial<Record<RailName, number>>>;
}

const MINUTE_MS = 60_000;

/**
 * The policy with memory: it keeps what stands (in observe mode: what would stand), so that budget and expiry
 * are real in a rehearsal too. Actions of another scope are not counted and cannot be made here.
 */
export class Guardrails {
  readonly policy: Policy;
  /** Expiry by target, in order of insertion. */
  readonly #standing = new Map<string, number>();
  /** Start times of the last minute, oldest first. */
  #started: number[] = [];
  readonly #verdicts: Record<DecisionVerdict, number> = {
    allow: 0,
    observe: 0,
    'would-block': 0,
    vetoed: 0,
    block: 0,
  };
  readonly #vetoes: Partial<Record<RailName, number>> = {};

  constructor(policy: Policy) {
    this.policy = policy;
  }

  get counters(): ResponseCounters {
    return { verdicts: { ...this.#verdicts }, vetoes: { ...this.#vetoes } };
  }

  /** Decides, and remembers an action that stands or would. */
  judge(flow: JudgedFlow): Decision {
    // Scores that propose nothing skip the bookkeeping: they are nearly all of them.
    const mayAct = flow.score.verdict === 'attack';
    const target = mayAct ? (parseAddress(flow.source)?.text ?? '') : '';
    if (mayAct) this.#expire(flow.nowMs);
    const decision = decide(
      {
        ...flow,
        standing: {
          actions: this.#standing.size,
          startedInLastMinute: this.#started.length,
          isTargetStanding: this.#standing.has(target),
        },
      },
      this.policy,
    );
    this.#verdicts[decision.verdict]++;
    for (const { rail } of decision.vetoes) this.#vetoes[rail] = (this.#vetoes[rail] ?? 0) + 1;
    const isStarted = decision.verdict === 'would-block' || decision.verdict === 'block';
    if (isStarted && decision.action !== undefined && !this.#standing.has(decision.action.target)) {
      this.#standing.set(decision.action.target, flow.nowMs + decision.action.ttlMs);
      this.#started.push(flow.nowMs);
    }
    return decision;
  }

  /** Targets that stand or would stand at the time, with the end of each. */
  standing(nowMs: number): readonly { readonly target: string; readonly expiresMs: number }[] {
    this.#expire(nowMs);
    return [...this.#standing].map(([target, expiresMs]) => ({ target, expiresMs }));
  }

  #expire(nowMs: number): void {
    // One lifetime for all: the order of insertion is the order of expiry.
    for (const [target, expiresMs] of this.#standing) {
      if (expiresMs > nowMs) break;
      this.#standing.delete(target);
    }
    if (this.#started.length > 0) this.#started = this.#started.filter((at) => at > nowMs - MINUTE_MS);
  }
}
