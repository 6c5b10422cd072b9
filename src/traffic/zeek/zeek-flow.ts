import { parseAddress } from '../address.ts';
import { addDirectionMeasures, type MeasureValues } from '../derived-measures.ts';
import { CONNECTION_STATES, type ConnectionState, type FlowRecord, TCP_FLAGS } from '../flow.ts';
import { ReportedNames } from '../reported-names.ts';

/** Fields of conn.log, dns.log and ssl.log that are read; the others may be there or not. */
export const ZEEK_FIELDS = [
  'ts',
  'id.orig_h',
  'id.orig_p',
  'id.resp_h',
  'id.resp_p',
  'proto',
  'duration',
  'orig_bytes',
  'resp_bytes',
  'conn_state',
  'history',
  'orig_pkts',
  'orig_ip_bytes',
  'resp_pkts',
  'resp_ip_bytes',
  'ip_proto',
  'query',
  'qtype',
  'rcode',
  'rtt',
  'answers',
  'TTLs',
  'server_name',
  'ja4',
  'cipher',
] as const;

/** Fields without which a line is no flow; `proto` is not in ssl.log, which is always TCP. */
export const ZEEK_REQUIRED = ['ts', 'id.orig_h', 'id.orig_p', 'id.resp_h', 'id.resp_p', 'proto'] as const;

/** Which log of Zeek's it is. */
export type ZeekLog = 'conn' | 'dns' | 'ssl';

/** The log that has these fields. */
export function zeekLog(fields: ReadonlySet<string>): ZeekLog {
  if (fields.has('query') && fields.has('trans_id')) return 'dns';
  return fields.has('cipher') && !fields.has('proto') ? 'ssl' : 'conn';
}

export type ZeekField = (typeof ZEEK_FIELDS)[number];
/** The text of a field, undefined where it is unset. */
export type ZeekEntry = (field: ZeekField) => string | undefined;

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17 };
/** IANA's reserved protocol number, for Zeek's `unknown_transport`. */
const RESERVED = 255;

/**
 * A flow from an entry of conn.log, dns.log or ssl.log, or the stable code of what is wrong with it. Counts that Zeek left out are NaN;
 * TCP flags come from the history, which names them. As our own meter does, UDP and ICMP are S0 or SF by whether
 * the responder spoke (Zeek says OTH for ICMP).
 */
export function zeekFlow(entry: ZeekEntry, log: ZeekLog = 'conn'): FlowRecord | string {
  const startMs = zeekTime(entry('ts'));
  if (startMs === undefined) return 'zeek-invalid-time';
  const endpoints = zeekEndpoints(entry, log);
  if (typeof endpoints === 'string') return endpoints;
  if (log === 'dns') return dnsExchange(entry, endpoints, startMs);
  if (log === 'ssl') return tlsHandshake(entry, endpoints, startMs);
  const { protocol } = endpoints;

  const duration = entry('duration') === undefined ? 0 : Number(entry('duration'));
  if (!(duration >= 0 && duration < 1e12)) return 'zeek-invalid-duration';
  const counts = (side: 'orig' | 'resp') => ({
    packets: wholeNumber(entry(`${side}_pkts`)),
    bytes: wholeNumber(entry(`${side}_ip_bytes`)),
    payloadBytes: wholeNumber(entry(`${side}_bytes`)),
    tcpFlags: protocol === 6 ? historyFlags(entry('history'), side === 'orig') : 0,
  });
  const forward = counts('orig');
  const backward = counts('resp');
  const stated = CONNECTION_STATES.find((state) => state === entry('conn_state')) ?? 'OTH';
  const isAnswered = backward.packets > 0 || backward.payloadBytes > 0;
  const state: ConnectionState = protocol === 6 ? stated : isAnswered ? 'SF' : 'S0';
  const measures: MeasureValues = {};
  addDirectionMeasures(
    measures,
    'forward',
    protocol,
    forward,
    backward.packets === 0 ? { durationMs: duration * 1000 } : {},
  );
  addDirectionMeasures(measures, 'backward', protocol, backward);
  return {
    sourceKind: 'zeek',
    ...endpoints,
    startMs,
    endMs: startMs + duration * 1000,
    forward,
    backward,
    state,
    endReason: 'reported',
    ...(Object.keys(measures).length > 0 && { measures }),
  };
}

type Endpoints = Pick<
  FlowRecord,
  'protocol' | 'sourceAddress' | 'destinationAddress' | 'sourcePort' | 'destinationPort'
>;

function zeekEndpoints(entry: ZeekEntry, log: ZeekLog): Endpoints | string {
  const source = parseAddress(entry('id.orig_h') ?? '');
  const destination = parseAddress(entry('id.resp_h') ?? '');
  if (source === undefined || destination === undefined) return 'zeek-invalid-address';
  const sourcePort = wholeNumber(entry('id.orig_p'));
  const destinationPort = wholeNumber(entry('id.resp_p'));
  if (!(sourcePort <= 65_535 && destinationPort <= 65_535)) return 'zeek-invalid-port';
  const name = log === 'ssl' ? 'tcp' : entry('proto');
  if (name === undefined) return 'zeek-invalid-protocol';
  const ipProtocol = wholeNumber(entry('ip_proto'));
  let protocol = PROTOCOLS[name] ?? (ipProtocol <= 255 ? ipProtocol : RESERVED);
  if (name === 'icmp' || name === 'icmp6') protocol = source.version === 4 ? 1 : 58;
  return {
    protocol,
    sourceAddress: source.text,
    destinationAddress: destination.text,
    sourcePort,
    destinationPort,
  };
}

/** dns.log does not count packets: what a side that spoke sent is NaN. */
const UNKNOWN = { packets: Number.NaN, bytes: Number.NaN, payloadBytes: Number.NaN };

/**
 * A line of dns.log as the flow of one exchange, from the question to the answer. Lines of one flow (one `uid`) are
 * exchanges of their own, and what the flow counted is in conn.log alone.
 */
function dnsExchange(entry: ZeekEntry, endpoints: Endpoints, startMs: number): FlowRecord | string {
  const rtt = entry('rtt') === undefined ? 0 : Number(entry('rtt'));
  if (!(rtt >= 0 && rtt < 1e12)) return 'zeek-invalid-duration';
  const said = new ReportedNames();
  const query = entry('query');
  if (query !== undefined) said.query(query, wholeNumber(entry('qtype')));
  const code = wholeNumber(entry('rcode'));
  const isAnswered = !Number.isNaN(code) || entry('rtt') !== undefined;
  if (isAnswered) {
    const list = (field: ZeekField) => entry(field)?.split(',') ?? [];
    const ttls = list('TTLs')
      .map(Number)
      .filter((ttl) => ttl >= 0);
    said.response(
      code > 0,
      list('answers').length,
      ttls.length > 0 ? Math.min(...ttls.slice(0, 64)) : Number.NaN,
    );
  }
  const tcpFlags = endpoints.protocol === 6 ? Number.NaN : 0;
  const answered = isAnswered ? 'SF' : 'S0';
  return {
    sourceKind: 'zeek',
    ...endpoints,
    startMs,
    endMs: startMs + rtt * 1000,
    forward: { ...UNKNOWN, tcpFlags },
    backward: { ...UNKNOWN, tcpFlags },
    state: endpoints.protocol === 6 ? 'OTH' : answered,
    endReason: 'reported',
    measures: said.measures,
    ...(said.names !== undefined && { names: said.names }),
  };
}

/** A line of ssl.log as a flow of unknown counts that begins and ends with the handshake. */
function tlsHandshake(entry: ZeekEntry, endpoints: Endpoints, startMs: number): FlowRecord {
  const said = new ReportedNames();
  said.tls(entry('server_name'), entry('ja4'));
  return {
    sourceKind: 'zeek',
    ...endpoints,
    startMs,
    endMs: startMs,
    forward: { ...UNKNOWN, tcpFlags: Number.NaN },
    backward: { ...UNKNOWN, tcpFlags: Number.NaN },
    state: 'OTH',
    endReason: 'reported',
    measures: said.measures,
    ...(said.names !== undefined && { names: said.names }),
  };
}

/** Seconds since 1970, or RFC 3339 text as Zeek's JSON can be told to write it. */
function zeekTime(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const seconds = Number(text);
  const ms = Number.isNaN(seconds) && /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : seconds * 1000;
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? ms : undefined;
}

/** A count; NaN where it is unset or no whole number. */
function wholeNumber(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}(\.0+)?$/.test(text) ? Number(text) : Number.NaN;
}

/** Letters of Zeek's history, upper case from the originator: each says that a kind of segment was seen. */
function historyFlags(history: string | undefined, isOriginator: boolean): number {
  if (history === undefined) return Number.NaN;
  const { syn, ack, fin, rst } = TCP_FLAGS;
  const letters: Readonly<Record<string, number>> = {
    S: syn,
    H: syn | ack,
    A: ack,
    D: ack,
    F: fin,
    R: rst,
    Q: syn | fin,
  };
  let flags = 0;
  for (const letter of history.slice(0, 256)) {
    const upper = letter.toUpperCase();
    if ((letter === upper) === isOriginator) flags |= letters[upper] ?? 0;
  }
  return flags;
}
