import type { Milliseconds } from '../../base/index.ts';

/**
 * Why work was refused. `concurrency`: as many requests as allowed are under way or wait. `queue-delay`: the queue stands.
 * `deadline`: the answer would come too late. `priority`: live work needed the place. `throttled`: the machine is short of
 * something that the monitor watches.
 */
export const REFUSAL_REASONS = ['concurrency', 'queue-delay', 'deadline', 'priority', 'throttled'] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface Refusal {
  readonly reason: RefusalReason;
  readonly retryAfterMs: Milliseconds;
}

export const PRIORITIES = ['live', 'batch'] as const;
export type Priority = (typeof PRIORITIES)[number];
