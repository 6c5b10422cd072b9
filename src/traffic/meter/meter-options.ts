import type { Milliseconds } from '../../base/index.ts';
import { TrafficError } from '../errors.ts';

export interface MeterOptions {
  /** A flow ends when it was silent for this long. */
  readonly idleTimeoutMs: Milliseconds;
  /** The same for a TCP flow whose SYN nobody has answered. */
  readonly attemptTimeoutMs: Milliseconds;
  /** A flow that lasts longer is handed out in pieces of at least this length. */
  readonly activeTimeoutMs: Milliseconds;
  /** How long a TCP flow lingers after RST or both FINs, so that trailing segments open no new flow. */
  readonly tcpLingerMs: Milliseconds;
  /** Whether RST or both FINs end a TCP flow; false leaves that to the timeouts. */
  readonly splitAtTcpEnd: boolean;
  /** Open flows held at most; those silent longest are ended for new ones. 512 bytes each at most, mostly 370. */
  readonly maxFlows: number;
  /** A silence longer than this ends an active period of a flow. */
  readonly idlePeriodMs: Milliseconds;
  /** Whether the entropy of payloads is measured; it costs a look at up to 2,048 bytes a packet. */
  readonly payloadEntropy: boolean;
  /** Flows that hold names at once, at most; of more the texts are dropped and counted. */
  readonly maxNamedFlows: number;
}

export const METER_DEFAULTS: MeterOptions = {
  idleTimeoutMs: 30_000,
  attemptTimeoutMs: 5_000,
  activeTimeoutMs: 300_000,
  tcpLingerMs: 2_000,
  splitAtTcpEnd: true,
  maxFlows: 200_000,
  idlePeriodMs: 5_000,
  payloadEntropy: false,
  maxNamedFlows: 65_536,
};

/** What fits into the 4 GiB that a kernel can address. */
export const MAX_FLOWS_LIMIT = 1 << 22;

/** The options with defaults filled in. Throws `traffic.meter-options-invalid`. */
export function meterOptions(options: Partial<MeterOptions>): MeterOptions {
  const o = { ...METER_DEFAULTS, ...options };
  for (const name of [
    'idleTimeoutMs',
    'attemptTimeoutMs',
    'activeTimeoutMs',
    'tcpLingerMs',
    'idlePeriodMs',
  ] as const) {
    if (!(o[name] > 0)) throw invalid(`${name} above 0`, o[name]);
  }
  if (!Number.isInteger(o.maxFlows) || o.maxFlows < 1 || o.maxFlows > MAX_FLOWS_LIMIT) {
    throw invalid(`maxFlows from 1 to ${MAX_FLOWS_LIMIT}`, o.maxFlows);
  }
  if (!Number.isInteger(o.maxNamedFlows) || o.maxNamedFlows < 0) {
    throw invalid('maxNamedFlows as a count', o.maxNamedFlows);
  }
  return o;
}

function invalid(expected: string, got: number): TrafficError {
  return new TrafficError('traffic.meter-options-invalid', `expected ${expected}, got ${got}`);
}
