import type { Milliseconds } from '../../base/index.ts';
import { parseAddress } from '../address.ts';
import { addDirectionMeasures, type MeasureValues } from '../derived-measures.ts';
import type { DirectionCounts, EndReason, FlowRecord } from '../flow.ts';
import { stateFromFlags } from '../state-from-flags.ts';

/** A JSON object of an EVE line, as it came. */
export type Json = Readonly<Record<string, unknown>>;

/** Suricata counts whole frames: this much of each is the Ethernet header, which our bytes leave out. */
const ETHERNET_HEADER = 14;
/** Shortest IP packet: where frames would be shorter without a header, they had none. */
const MIN_IP_PACKET = 20;

const PROTOCOLS: Readonly<Record<string, number>> = {
  TCP: 6,
  UDP: 17,
  ICMP: 1,
  'IPV6-ICMP': 58,
  ICMPV6: 58,
  SCTP: 132,
  GRE: 47,
  ESP: 50,
  AH: 51,
  IGMP: 2,
};
const RESERVED = 255;

/** Why Suricata let a flow go (`flow.reason`), in our words. */
const REASONS: Readonly<Record<string, EndReason>> = {
  timeout: 'idle',
  forced: 'evicted',
  shutdown: 'end-of-source',
  tcp_reuse: 'tcp-end',
};

/**
 * The flow of an EVE `flow` record, or the stable code of what is wrong: `eve-invalid-address`, `-port`, `-time`.
 * Suricata counts bytes of whole frames as captured; 14 a packet are taken off for Ethernet, while VLAN tags and the
 * padding of short frames stay. TCP state follows from the flags of both sides (Suricata's own is only new,
 * established or closed).
 */
export function eveFlow(event: Json): FlowRecord | string {
  const flow = objectOf(event.flow);
  const endpoints = eveEndpoints(event);
  if (typeof endpoints === 'string') return endpoints;
  const startMs = eveTime(flow.start);
  const endMs = eveTime(flow.end) ?? startMs;
  if (startMs === undefined || endMs === undefined || endMs < startMs) return 'eve-invalid-time';
  const tcp = objectOf(event.tcp);
  const isTcp = endpoints.protocol === 6;
  const counts = (side: 'server' | 'client', flags: unknown): DirectionCounts => {
    const packets = wholeNumber(flow[`pkts_to${side}`]);
    return {
      packets,
      bytes: ipBytes(packets, wholeNumber(flow[`bytes_to${side}`])),
      payloadBytes: Number.NaN,
      tcpFlags: isTcp && packets !== 0 ? hexFlags(flags) : 0,
    };
  };
  const forward = counts('server', tcp.tcp_flags_ts);
  const backward = counts('client', tcp.tcp_flags_tc);
  return recordOf(endpoints, { startMs, endMs, forward, backward }, endReason(flow));
}

/** The flow of an EVE `netflow` record, which tells of one direction; codes as for `eveFlow`. */
export function eveNetflow(event: Json): FlowRecord | string {
  const { start, end, pkts, bytes } = objectOf(event.netflow);
  const endpoints = eveEndpoints(event);
  if (typeof endpoints === 'string') return endpoints;
  const startMs = eveTime(start);
  const endMs = eveTime(end) ?? startMs;
  if (startMs === undefined || endMs === undefined || endMs < startMs) return 'eve-invalid-time';
  const packets = wholeNumber(pkts);
  const forward = {
    packets,
    bytes: ipBytes(packets, wholeNumber(bytes)),
    payloadBytes: Number.NaN,
    tcpFlags: endpoints.protocol === 6 ? hexFlags(objectOf(event.tcp).tcp_flags) : 0,
  };
  const backward = { packets: 0, bytes: 0, payloadBytes: 0, tcpFlags: 0 };
  return recordOf(endpoints, { startMs, endMs, forward, backward }, 'reported');
}

/** The time of an event, ms since 1970; undefined where it is none. Microseconds are kept as a fraction. */
export function eveTime(value: unknown): Milliseconds | undefined {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$/.exec(
    typeof value === 'string' ? value : '',
  );
  if (parts === null) return undefined;
  const zone = parts[3] ?? 'Z';
  const base = Date.parse(`${parts[1]}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`);
  // Thousandths of a ms, so that the fraction is not lost in the seconds since 1970.
  const micros = Math.round(Number(`0${parts[2] ?? ''}`) * 1e6);
  return Number.isNaN(base) ? undefined : (base * 1000 + micros) / 1000;
}

export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

interface Endpoints {
  readonly protocol: number;
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

interface Counted {
  readonly startMs: Milliseconds;
  readonly endMs: Milliseconds;
  readonly forward: DirectionCounts;
  readonly backward: DirectionCounts;
}

function recordOf(endpoints: Endpoints, counted: Counted, reason: EndReason): FlowRecord {
  const { protocol } = endpoints;
  const measures: MeasureValues = {};
  const isAlone = counted.backward.packets === 0;
  const durationMs = counted.endMs - counted.startMs;
  addDirectionMeasures(measures, 'forward', protocol, counted.forward, isAlone ? { durationMs } : {});
  addDirectionMeasures(measures, 'backward', protocol, counted.backward);
  return {
    sourceKind: 'eve',
    ...endpoints,
    ...counted,
    state: stateFromFlags(protocol, counted.forward, counted.backward),
    endReason: reason,
    ...(Object.keys(measures).length > 0 && { measures }),
  };
}

function eveEndpoints(event: Json): Endpoints | string {
  const source = parseAddress(textOf(event.src_ip) ?? '');
  const destination = parseAddress(textOf(event.dest_ip) ?? '');
  if (source === undefined || destination === undefined) return 'eve-invalid-address';
  const name = textOf(event.proto)?.toUpperCase() ?? '';
  const number = /^\d{1,3}$/.test(name) ? Number(name) : RESERVED;
  const protocol = PROTOCOLS[name] ?? Math.min(number, RESERVED);
  const isIcmp = protocol === 1 || protocol === 58;
  const port = (value: unknown) => (value === undefined ? 0 : wholeNumber(value));
  const sourcePort = port(isIcmp ? event.icmp_type : event.src_port);
  const destinationPort = port(isIcmp ? event.icmp_code : event.dest_port);
  if (!(sourcePort <= 65_535 && destinationPort <= 65_535)) return 'eve-invalid-port';
  return {
    protocol,
    sourceAddress: source.text,
    destinationAddress: destination.text,
    sourcePort,
    destinationPort,
  };
}

function endReason(flow: Json): EndReason {
  const reason = textOf(flow.reason);
  if (reason === 'timeout' && flow.state === 'closed') return 'tcp-end';
  return REASONS[reason ?? ''] ?? 'reported';
}

function ipBytes(packets: number, frameBytes: number): number {
  const bytes = frameBytes - ETHERNET_HEADER * packets;
  return bytes < MIN_IP_PACKET * packets ? frameBytes : bytes;
}

function hexFlags(value: unknown): number {
  const text = textOf(value);
  return text !== undefined && /^[0-9a-f]{1,2}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
}

function wholeNumber(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : Number.NaN;
}
