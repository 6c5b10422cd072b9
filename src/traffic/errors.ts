import { type ErrorCatalogue, GuardianError, type GuardianErrorOptions } from '../base/index.ts';

/** Codes of `traffic`. Broken packets are no errors: they are counted in `SourceCounters.malformed`. */
export const TRAFFIC_ERRORS = {
  'traffic.source-missing': {
    category: 'validation',
    retry: false,
    says: 'The file does not exist or is not a file that can be read; the message names it.',
  },
  'traffic.read-failed': {
    category: 'resource',
    retry: true,
    says: 'The operating system refused to read on; the cause says why.',
  },
  'traffic.unknown-format': {
    category: 'validation',
    retry: false,
    says: 'The content is none of the formats that are read: pcap, pcapng, Zeek conn.log, flow CSV.',
  },
  'traffic.missing-column': {
    category: 'validation',
    retry: false,
    says: 'A Zeek log or flow CSV lacks a column that a flow cannot do without; the message names it.',
  },
  'traffic.csv-malformed': {
    category: 'validation',
    retry: false,
    says: 'A quoted CSV field does not end, or a field, row or column count is over its limit.',
  },
  'traffic.meter-options-invalid': {
    category: 'validation',
    retry: false,
    says: 'A timeout or the table size of the flow meter is out of range; the message names it.',
  },
} as const satisfies ErrorCatalogue;

export type TrafficErrorCode = keyof typeof TRAFFIC_ERRORS;

export class TrafficError extends GuardianError {
  constructor(code: TrafficErrorCode, message: string, options?: GuardianErrorOptions) {
    super(TRAFFIC_ERRORS, code, message, options);
  }
}
