import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of the bus. */
export const BUS_ERRORS = {
  'bus.name-invalid': {
    category: 'validation',
    retry: false,
    says: 'A topic, subject, key or object name is not made of lower-case words, digits and dashes joined by dots.',
  },
  'bus.address-refused': {
    category: 'security',
    retry: false,
    says: 'A bus on another machine needs TLS and credentials; nats:// without them is for loopback.',
  },
  'bus.unreachable': {
    category: 'resource',
    retry: true,
    says: 'The bus does not answer; what was not acknowledged was not taken.',
  },
  'bus.full': {
    category: 'resource',
    retry: true,
    says: 'The topic holds as many bytes as it may; the message was refused, nothing older was dropped.',
  },
  'bus.no-responder': {
    category: 'resource',
    retry: true,
    says: 'Nobody answers requests on this subject now.',
  },
  'bus.timeout': {
    category: 'resource',
    retry: true,
    says: 'No answer came in time; whether the request was worked on is unknown.',
  },
  'bus.responder-failed': {
    category: 'resource',
    retry: false,
    says: 'Whoever took the request could not answer it; the message says why.',
  },
  'bus.object-missing': {
    category: 'resource',
    retry: false,
    says: 'No object of that name is on the bus, or its bytes do not have the digest it was stored with.',
  },
  'bus.seal-broken': {
    category: 'security',
    retry: false,
    says: 'What came over the bus was not sealed under its key, or for another name, request or purpose; it was dropped.',
  },
  'bus.key-refused': {
    category: 'security',
    retry: false,
    says: 'The file of the key of the bus is missing, can be read by others, or does not hold 32 bytes. Make one: guardian keys bus FILE.',
  },
  'bus.key-wrong': {
    category: 'security',
    retry: false,
    says: 'The bus is sealed under another key. Give each process the same file; for a new key, start over an empty bus.',
  },
  'bus.closed': {
    category: 'resource',
    retry: false,
    says: 'The bus was closed by this process.',
  },
} as const satisfies ErrorCatalogue;

export type BusErrorCode = keyof typeof BUS_ERRORS;

export class BusError extends GuardianError {
  declare readonly code: BusErrorCode;

  constructor(code: BusErrorCode, message: string, options?: GuardianErrorOptions) {
    super(BUS_ERRORS, code, message, options);
  }
}
