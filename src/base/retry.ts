import { setTimeout as wait } from 'node:timers/promises';
import { GuardianError } from './errors.ts';
import type { Milliseconds } from './units.ts';

export interface RetryOptions {
  /** Calls at most, the first included. */
  readonly attempts: number;
  /** Longest pause before the second call; it doubles with each. */
  readonly firstDelayMs: Milliseconds;
  readonly maxDelayMs: Milliseconds;
  readonly signal?: AbortSignal;
  /** In [0, 1); Math.random by default. */
  readonly random?: () => number;
  readonly sleep?: (delayMs: Milliseconds, signal?: AbortSignal) => Promise<void>;
}

export const RETRY_DEFAULTS = {
  attempts: 4,
  firstDelayMs: 100,
  maxDelayMs: 5_000,
} as const satisfies RetryOptions;

/**
 * Calls again where the error's code says that this may help, and never else: a refusal for good is handed on at once. The
 * pause is drawn from the whole range, so that many callers do not come back together, and is no shorter than the error's
 * `retryAfterMs`. Throws what the last call threw.
 */
export async function retryWhere<T>(
  work: (attempt: number) => Promise<T>,
  options: Partial<RetryOptions> = {},
): Promise<T> {
  const { attempts, firstDelayMs, maxDelayMs } = { ...RETRY_DEFAULTS, ...options };
  const { signal, random = Math.random, sleep = pause } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      const mayHelp = error instanceof GuardianError && error.retry && !error.fatal;
      if (!mayHelp || attempt >= attempts || isCalledOff(signal)) throw error;
      const most = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1));
      await sleep(Math.max(error.retryAfterMs ?? 0, random() * most), signal);
      if (isCalledOff(signal)) throw error;
    }
  }
}

function isCalledOff(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Ends early where it is called off. */
async function pause(delayMs: Milliseconds, signal?: AbortSignal): Promise<void> {
  await wait(delayMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
}
