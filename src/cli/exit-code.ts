import { GuardianError } from '../base/index.ts';
import { ApiError } from './api.ts';

/** What a finished command tells the shell. */
export const EXIT = {
  done: 0,
  checkFailed: 1,
  usage: 2,
  unavailable: 3,
  failed: 4,
  interrupted: 130,
} as const;

/** Codes whose category alone would say something else. */
const BY_CODE: Readonly<Record<string, number>> = {
  'registry.gate-failed': EXIT.checkFailed,
  'registry.approvals-missing': EXIT.checkFailed,
  'registry.gate-data-missing': EXIT.checkFailed,
  'registry.certification-refused': EXIT.checkFailed,
  'response.no-actuator': EXIT.unavailable,
  'cli.no-model': EXIT.unavailable,
  'cli.unavailable': EXIT.unavailable,
  'storage.state-owned': EXIT.unavailable,
  'storage.writer-leased': EXIT.unavailable,
};

/** The exit code of a failure: see the table in the README. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof DOMException && error.name === 'AbortError') return EXIT.interrupted;
  if (!(error instanceof GuardianError) && !(error instanceof ApiError)) return EXIT.failed;
  const known = BY_CODE[error.code];
  if (known !== undefined) return known;
  if (error.category === 'security') return EXIT.checkFailed;
  if (error.category === 'validation') return EXIT.usage;
  return error.retry ? EXIT.unavailable : EXIT.failed;
}
