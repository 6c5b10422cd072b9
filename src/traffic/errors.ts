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
    says: 'The content is none of the formats that are read; the message names them.',
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
  'traffic.interface-missing': {
    category: 'validation',
    retry: false,
    says: 'There is no network interface of that name; the message names those there are.',
  },
  'traffic.capture-tool-missing': {
    category: 'resource',
    retry: false,
    says: 'Capturing needs tcpdump, which is not installed or not in PATH.',
  },
  'traffic.capture-denied': {
    category: 'security',
    retry: false,
    says: 'tcpdump may not capture: run as root, or give it the capability cap_net_raw.',
  },
  'traffic.filter-invalid': {
    category: 'validation',
    retry: false,
    says: 'The capture filter is not one that pcap-filter(7) describes; the message says what tcpdump thinks of it.',
  },
  'traffic.interface-gone': {
    category: 'resource',
    retry: true,
    says: 'The interface disappeared or went down while it was captured; what was seen until then was handed out.',
  },
  'traffic.capture-failed': {
    category: 'resource',
    retry: true,
    says: 'tcpdump ended by itself; the message holds its last words.',
  },
  'traffic.record-exists': {
    category: 'validation',
    retry: false,
    says: 'The file to record into exists: nothing is overwritten.',
  },
  'traffic.record-failed': {
    category: 'resource',
    retry: true,
    says: 'The file to record into cannot be made; the cause says why.',
  },
  'traffic.record-unsupported': {
    category: 'validation',
    retry: false,
    says: 'Only packets can be recorded: a live capture, or a pcap or pcapng file or pipe.',
  },
  'traffic.parquet-malformed': {
    category: 'validation',
    retry: false,
    says: 'A Parquet file is damaged, over a limit, or holds columns of another type than expected; the message says which.',
  },
  'traffic.follow-unsupported': {
    category: 'validation',
    retry: false,
    says: 'What is followed is a capture or a log that grows, or a folder of captures.',
  },
  'traffic.collector-address-invalid': {
    category: 'validation',
    retry: false,
    says: 'The address of a flow collector is not understood, or it would hear exporters that nobody named.',
  },
  'traffic.collector-bind-failed': {
    category: 'resource',
    retry: true,
    says: 'The flow collector cannot listen at its address; the cause says why.',
  },
  'traffic.meter-memory': {
    category: 'resource',
    retry: true,
    says: 'The system gives the flow meter no more memory: lower maxFlows, or give the process more.',
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
