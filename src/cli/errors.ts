import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

export const CLI_ERRORS = {
  'cli.usage': {
    category: 'validation',
    retry: false,
    says: 'The command line is wrong; the message says what was expected.',
  },
  'cli.no-model': {
    category: 'resource',
    retry: false,
    says: 'There is no model to watch with; `guardian demo` makes one, `guardian train` trains your own.',
  },
  'cli.unavailable': {
    category: 'resource',
    retry: true,
    says: 'The process that owns the state folder did not answer on its socket.',
  },
  'cli.refused': {
    category: 'resource',
    retry: false,
    says: 'The process that owns the state folder refused the request; code and reason are its own.',
  },
  'cli.check-failed': {
    category: 'security',
    retry: false,
    says: 'A check that the command made did not pass: a gate, a verification or a demonstration.',
  },
  'cli.file-exists': {
    category: 'validation',
    retry: false,
    says: 'The output file exists already and is not overwritten.',
  },
} as const satisfies ErrorCatalogue;

export type CliErrorCode = keyof typeof CLI_ERRORS;

export class CliError extends GuardianError {
  constructor(code: CliErrorCode, message: string, options?: GuardianErrorOptions) {
    super(CLI_ERRORS, code, message, options);
  }
}
