import { RegistryError } from './errors.ts';

const REASON = /^[\p{L}\p{M}\p{N}\p{P}\p{S}][\p{L}\p{M}\p{N}\p{P}\p{S} ]{0,499}$/u;

/** A reason stands in the audit log for good: one line of 1 to 500 printable characters. Throws `registry.reason-invalid`. */
export function checkReason(text: string): void {
  if (!REASON.test(text)) {
    throw new RegistryError('registry.reason-invalid', 'expected a reason of 1 to 500 printable characters');
  }
}
