import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `alerts`. */
export const ALERTS_ERRORS = {
  'alerts.not-stored': {
    category: 'resource',
    retry: true,
    says: 'Detections could not be stored; they are kept in memory and stored with the next ones.',
  },
  'alerts.malformed-detection': {
    category: 'validation',
    retry: false,
    says: 'A stored detection is not of a format this version reads.',
  },
  'alerts.config-invalid': {
    category: 'validation',
    retry: false,
    says: 'The alerts configuration has an unknown key or a value outside its range; the message names it.',
  },
  'alerts.bad-suppression': {
    category: 'validation',
    retry: false,
    says: 'A suppression rule names no kind and no network, has no end, or a network that cannot be read.',
  },
  'alerts.secret-unusable': {
    category: 'security',
    retry: false,
    says: 'The file of the secret that signs notices cannot be read, is too short, or others may read it.',
  },
  'alerts.sink-failed': {
    category: 'resource',
    retry: true,
    says: 'A receiver of notices did not take one; it is sent again until it is too old.',
  },
  'alerts.notice-refused': {
    category: 'validation',
    retry: false,
    says: 'A receiver of notices will never take this one: it is given up, and the audit log says so.',
  },
  'alerts.rule-unknown': {
    category: 'validation',
    retry: false,
    says: 'No rule that silences notices has this id.',
  },
  'alerts.detection-unknown': {
    category: 'validation',
    retry: false,
    says: 'No detection has the uid that a verdict is given on.',
  },
  'alerts.rules-full': {
    category: 'validation',
    retry: false,
    says: 'There are as many rules that silence notices as there may be; remove one first.',
  },
} as const satisfies ErrorCatalogue;

export type AlertsErrorCode = keyof typeof ALERTS_ERRORS;

export class AlertsError extends GuardianError {
  constructor(code: AlertsErrorCode, message: string, options?: GuardianErrorOptions) {
    super(ALERTS_ERRORS, code, message, options);
  }
}
