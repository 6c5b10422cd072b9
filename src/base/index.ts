export { type Clock, ManualClock, systemClock } from './clock.ts';
export {
  BASE_ERRORS,
  BaseError,
  type BaseErrorCode,
  type ErrorCatalogue,
  type ErrorCategory,
  type ErrorEntry,
  GuardianError,
  type GuardianErrorOptions,
} from './errors.ts';
export { armFaultPoints, type FaultHandler, faultPoint } from './fault-point.ts';
export { syncFolder, writeFileAtomic } from './files.ts';
export { SeededRandom } from './random.ts';
export type { Bytes, Digest, Milliseconds, Probability } from './units.ts';
