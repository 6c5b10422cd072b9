import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../../base/index.ts';

/** Codes of the queue of events. */
export const QUEUE_ERRORS = {
  'guardian.no-bus': {
    category: 'validation',
    retry: false,
    says: 'Events were to be queued, and this guardian has no sealed bus: set bus.url and bus.sealingKeyFile, or send them to POST /v1/events.',
  },
  'guardian.queue-away': {
    category: 'resource',
    retry: true,
    says: 'The bus did not acknowledge the event, so it is not known to be queued: send it again, under the same Idempotency-Key.',
  },
  'guardian.queue-full': {
    category: 'resource',
    retry: true,
    says: 'The queue of this stream holds as much as it may; the event was refused, nothing older was dropped.',
  },
  'guardian.event-too-large': {
    category: 'validation',
    retry: false,
    says: 'The flows of one queued event take more room than a message may have: send them in parts.',
  },
  'guardian.event-unknown': {
    category: 'validation',
    retry: false,
    says: 'This is no id that a queued event was given here.',
  },
  'guardian.message-malformed': {
    category: 'validation',
    retry: false,
    says: 'A message of the queue has another form than this version writes; update owner and workers together.',
  },
  'guardian.model-missing': {
    category: 'model',
    retry: true,
    says: 'The worker that has the event has no model of this name yet: promote one, or wait until the worker fetched it.',
  },
  'guardian.attempts-exhausted': {
    category: 'resource',
    retry: false,
    says: 'No worker could score the event, however often it was handed out; its result says so, and why the last one failed.',
  },
  'guardian.result-refused': {
    category: 'validation',
    retry: false,
    says: 'What a worker made of the event could not be judged or stored by the server; update owner and workers together.',
  },
} as const satisfies ErrorCatalogue;

export type QueueErrorCode = keyof typeof QUEUE_ERRORS;

export class QueueError extends GuardianError {
  declare readonly code: QueueErrorCode;

  constructor(code: QueueErrorCode, message: string, options?: GuardianErrorOptions) {
    super(QUEUE_ERRORS, code, message, options);
  }
}
