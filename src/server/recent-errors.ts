import type { ErrorCategory, Milliseconds } from '../base/index.ts';

/** A refusal without its message, which may name what was asked for. */
export interface RecentError {
  readonly timeMs: Milliseconds;
  readonly code: string;
  readonly category: ErrorCategory;
  readonly status: number;
  /** As declared. */
  readonly route: string;
}

const KEPT = 100;
const known = new WeakMap<object, RecentError[]>();

/** Keeps the last refusals of a guardian, over all its servers. */
export function noteError(guardian: object, error: RecentError): void {
  const errors = known.get(guardian) ?? [];
  known.set(guardian, errors);
  errors.push(error);
  if (errors.length > KEPT) errors.shift();
}

/** Oldest first. */
export function recentErrors(guardian: object): readonly RecentError[] {
  return known.get(guardian) ?? [];
}
