import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `monitor`. */
export const MONITOR_ERRORS = {
  'monitor.limits-invalid': {
    category: 'validation',
    retry: false,
    says: 'A limit of the monitor is out of range or in the wrong order; the message names it.',
  },
} as const satisfies ErrorCatalogue;

export type MonitorErrorCode = keyof typeof MONITOR_ERRORS;

export class MonitorError extends GuardianError {
  constructor(code: MonitorErrorCode, message: string, options?: GuardianErrorOptions) {
    super(MONITOR_ERRORS, code, message, options);
  }
}
