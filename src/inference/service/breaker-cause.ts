import { GuardianError } from '../../base/index.ts';
import type { BreakerCause } from './circuit-breaker.ts';

const CAUSES: Readonly<Record<string, BreakerCause>> = {
  'inference.output-corrupt': 'corrupt-output',
  'inference.timeout': 'timeout',
  'inference.worker-lost': 'worker-crash',
  'inference.runtime-lost': 'worker-crash',
};

/** Which kind of failure an error of a model, its thread or its process is. */
export function breakerCauseOf(error: unknown): BreakerCause {
  return (error instanceof GuardianError && CAUSES[error.code]) || 'model-error';
}
