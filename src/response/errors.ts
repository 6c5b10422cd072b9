import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `response`. */
export const RESPONSE_ERRORS = {
  'response.no-actuator': {
    category: 'resource',
    retry: false,
    says: 'Enforcing was asked for, and nothing is installed that could act. Run in observe mode.',
  },
  'response.bad-network': {
    category: 'validation',
    retry: false,
    says: 'An entry of an allow-list or protected set is not an IP address or network. It is refused, never skipped.',
  },
  'response.policy-invalid': {
    category: 'validation',
    retry: false,
    says: 'The response policy has an unknown key or a value outside its range; the message names it.',
  },
} as const satisfies ErrorCatalogue;

export type ResponseErrorCode = keyof typeof RESPONSE_ERRORS;

export class ResponseError extends GuardianError {
  constructor(code: ResponseErrorCode, message: string, options?: GuardianErrorOptions) {
    super(RESPONSE_ERRORS, code, message, options);
  }
}
