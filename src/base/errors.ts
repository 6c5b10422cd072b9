import type { Milliseconds } from './units.ts';

/** Where a failure belongs; it is the metric label and decides the HTTP and gRPC status. */
export type ErrorCategory = 'model' | 'resource' | 'security' | 'validation';

/** What is known about one stable error code. */
export interface ErrorEntry {
  readonly category: ErrorCategory;
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retry: boolean;
  /** One sentence for the documentation: what happened and what to do. */
  readonly says: string;
}

/** A folder's closed table of codes, each starting with the folder's name and a dot. */
export type ErrorCatalogue = Readonly<Record<string, ErrorEntry>>;

export interface GuardianErrorOptions {
  readonly cause?: unknown;
  /** The state is unknown after this error: stop, and recover at the next start. */
  readonly fatal?: boolean;
  /** When the same call may succeed, from now; where that is known. */
  readonly retryAfterMs?: Milliseconds | undefined;
}

/**
 * The one base of every error the product throws. A folder declares its codes in a catalogue and one
 * subclass bound to it. Messages are lowercase, say what was expected and what came, and hold no secret.
 */
export abstract class GuardianError extends Error {
  readonly code: string;
  readonly category: ErrorCategory;
  readonly retry: boolean;
  readonly fatal: boolean;
  readonly retryAfterMs: Milliseconds | undefined;

  constructor(catalogue: ErrorCatalogue, code: string, message: string, options: GuardianErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const entry = catalogue[code];
    this.name = new.target.name;
    this.code = code;
    this.category = entry?.category ?? 'resource';
    this.retry = entry?.retry ?? false;
    this.fatal = options.fatal ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Codes of `base` itself. */
export const BASE_ERRORS = {
  'base.config-invalid': {
    category: 'validation',
    retry: false,
    says: 'The configuration has an unknown key or a value outside its range; the message names it.',
  },
  'base.disk-full': {
    category: 'resource',
    retry: true,
    says: 'There is no room left on the disk, or the quota is used up; nothing was written. Make room: it goes on by itself.',
  },
  'base.export-failed': {
    category: 'resource',
    retry: true,
    says: 'The receiver of metrics did not take them: look at metrics.otlp and at the receiver; the next export holds them, too.',
  },
  'base.kernel-invalid': {
    category: 'resource',
    retry: false,
    says: 'A kernel of the package does not compile or does not fit its memory: install the package anew.',
  },
  'base.kernel-missing': {
    category: 'resource',
    retry: false,
    says: 'A kernel of the package is not where it should be: install the package anew.',
  },
  'base.queue-full': {
    category: 'resource',
    retry: true,
    says: 'A bounded queue is full; the item was refused and counted.',
  },
  'base.seed-invalid': {
    category: 'validation',
    retry: false,
    says: 'A seed must be a whole number from 0 to 4294967295.',
  },
} as const satisfies ErrorCatalogue;

export type BaseErrorCode = keyof typeof BASE_ERRORS;

export class BaseError extends GuardianError {
  constructor(code: BaseErrorCode, message: string, options?: GuardianErrorOptions) {
    super(BASE_ERRORS, code, message, options);
  }
}
