import type { Milliseconds } from '../../base/index.ts';
import { formatIpv4, formatIpv6 } from '../address.ts';
import { addDirectionMeasures, type MeasureValues, type ReportedDirection } from '../derived-measures.ts';
import type { DirectionCounts, EndReason, FlowNames, FlowRecord } from '../flow.ts';
import { stateFromFlags } from '../state-from-flags.ts';
import { SLOT, type SlotName } from './information-elements.ts';
import type { RecordOrigin } from './message-decoder.ts';
import type { RecordValues } from './record-values.ts';

/** A flow as an exporter reports it. */
export interface ExportedFlow {
  readonly flow: FlowRecord;
  /** The record tells of one direction only: the other comes, if at all, in a record of its own. */
  readonly isOneWay: boolean;
}

/** IANA's reserved protocol number, where a record names none. */
const RESERVED = 255;
const NOTHING: DirectionCounts = { packets: 0, bytes: 0, payloadBytes: 0, tcpFlags: 0 };

/** flowEndReason (RFC 5102, section 5.11.3), by number. */
const END: Readonly<Record<number, EndReason>> = {
  1: 'idle',
  2: 'active',
  3: 'tcp-end',
  4: 'end-of-source',
  5: 'evicted',
};

/**
 * The flow of a record, or the stable code of why it is none: `netflow-without-addresses`, `netflow-without-counts`,
 * `netflow-invalid-time`, `netflow-invalid-port`. Bytes are IP bytes; payload and handshake are never known. TCP
 * state follows from the flags (`stateFromFlags`).
 */
export function flowFromRecord(values: RecordValues, origin: RecordOrigin): ExportedFlow | string {
  const { numbers, sourceVersion } = values;
  const get = (name: SlotName): number => numbers[SLOT[name]] as number;
  const first = (...names: readonly SlotName[]): number => {
    const found = names.find((name) => !Number.isNaN(get(name)));
    return found === undefined ? Number.NaN : get(found);
  };
  if (sourceVersion === 0 || sourceVersion !== values.destinationVersion) return 'netflow-without-addresses';
  const times = flowTimes(get, origin);
  if (times === undefined) return 'netflow-invalid-time';
  const [startMs, endMs] = times;
  const protocol = Math.min(get('protocol') || 0, RESERVED) || (Number.isNaN(get('protocol')) ? RESERVED : 0);
  const isIcmp = protocol === (sourceVersion === 4 ? 1 : 58);
  const [sourcePort, destinationPort] = isIcmp
    ? icmpTypeAndCode(get)
    : [get('sourcePort') || 0, get('destinationPort') || 0];
  if (!(sourcePort <= 65_535 && destinationPort <= 65_535)) return 'netflow-invalid-port';

  const flags = (name: SlotName): number => {
    if (protocol !== 6) return 0;
    // IPFIX may report the bits of the whole word; what we keep is the octet of flags.
    return Number.isNaN(get(name)) ? Number.NaN : get(name) % 256;
  };
  const outBytes = origin.isOutReverse && !Number.isNaN(get('bytes')) ? get('outBytes') : Number.NaN;
  const outPackets = origin.isOutReverse && !Number.isNaN(get('packets')) ? get('outPackets') : Number.NaN;
  const reverseBytes = Number.isNaN(get('reverseBytes')) ? outBytes : get('reverseBytes');
  const reversePackets = Number.isNaN(get('reversePackets')) ? outPackets : get('reversePackets');
  const isOneWay = Number.isNaN(reverseBytes) && Number.isNaN(reversePackets);
  const counts = (packets: number, bytes: number, tcpFlags: number): DirectionCounts =>
    packets === 0 ? NOTHING : { packets, bytes, payloadBytes: Number.NaN, tcpFlags };
  const forward = counts(
    first('packets', 'totalPackets', 'outPackets'),
    first('bytes', 'totalBytes', 'outBytes'),
    // nProbe's TCP_FLAGS are those of both directions in one, which tells of neither.
    Number.isNaN(outBytes) && Number.isNaN(outPackets) ? flags('tcpFlags') : protocol === 6 ? Number.NaN : 0,
  );
  const backward = isOneWay ? NOTHING : counts(reversePackets, reverseBytes, flags('reverseTcpFlags'));
  if (Number.isNaN(forward.packets) && Number.isNaN(forward.bytes)) return 'netflow-without-counts';

  const measures = reportedMeasures(get, protocol, { forward, backward, isOneWay, startMs, endMs });
  const names = recordNames(values);
  const address = (words: Uint32Array) =>
    sourceVersion === 4 ? formatIpv4(words[0]!) : formatIpv6(words[0]!, words[1]!, words[2]!, words[3]!);
  const flow: FlowRecord = {
    sourceKind: origin.domain.version === 10 ? 'ipfix' : 'netflow',
    protocol,
    sourceAddress: address(values.source),
    destinationAddress: address(values.destination),
    sourcePort,
    destinationPort,
    startMs,
    endMs,
    forward,
    backward,
    state: stateOf(protocol, forward, backward),
    endReason: END[get('endReason')] ?? 'reported',
    measures,
    ...(names !== undefined && { names }),
  };
  return { flow, isOneWay };
}

/** Where the responder's flags are not known apart, what it did is not known either. */
function stateOf(protocol: number, forward: DirectionCounts, backward: DirectionCounts): FlowRecord['state'] {
  if (protocol === 6 && Number.isNaN(backward.tcpFlags)) return 'OTH';
  return stateFromFlags(protocol, forward, backward);
}

/**
 * First and last packet, ms since 1970: absolute times where the record has them, else times before the export, else
 * uptimes against the uptime of the message (32 bits, which wrap) or the start of the exporter; without any, the time
 * of the export. NetFlow v9 and IPFIX headers count whole seconds, so uptimes are off by up to one.
 */
function flowTimes(
  get: (name: SlotName) => number,
  { domain, time }: RecordOrigin,
): readonly [Milliseconds, Milliseconds] | undefined {
  const init = Number.isNaN(get('systemInitMs')) ? domain.systemInitMs : get('systemInitMs');
  const absolute = (at: SlotName, before: SlotName, uptime: SlotName): number => {
    if (!Number.isNaN(get(at))) return get(at);
    if (!Number.isNaN(get(before))) return time.exportMs - get(before);
    if (!Number.isNaN(init)) return init + get(uptime);
    return time.exportMs - wrapped(time.uptimeMs - get(uptime));
  };
  let start = absolute('startMs', 'startBefore', 'startUptime');
  let end = absolute('endMs', 'endBefore', 'endUptime');
  const duration = get('durationMs');
  if (Number.isNaN(end)) end = Number.isNaN(start) ? time.exportMs : start + (duration || 0);
  if (Number.isNaN(start)) {
    const uptimes = get('endUptime') - get('startUptime');
    start = end - (Number.isNaN(duration) ? uptimes || 0 : duration);
  }
  const isValid = start >= 0 && start <= end && end <= 8.64e15;
  return isValid ? [start, end] : undefined;
}

/** A difference of two 32-bit uptimes; up to half the range it may be negative. */
function wrapped(difference: number): number {
  return Number.isNaN(difference) ? difference : difference | 0;
}

/** Type and code; exporters without an element for them put them into the destination port (type * 256 + code). */
function icmpTypeAndCode(get: (name: SlotName) => number): readonly [number, number] {
  if (!Number.isNaN(get('icmpType'))) return [get('icmpType') % 256, (get('icmpCode') || 0) % 256];
  const word =
    (Number.isNaN(get('icmpTypeAndCode')) ? get('destinationPort') || 0 : get('icmpTypeAndCode')) % 65_536;
  return [Math.floor(word / 256), word % 256];
}

interface Counted {
  readonly forward: DirectionCounts;
  readonly backward: DirectionCounts;
  readonly isOneWay: boolean;
  readonly startMs: Milliseconds;
  readonly endMs: Milliseconds;
}

function reportedMeasures(
  get: (name: SlotName) => number,
  protocol: number,
  { forward, backward, isOneWay, startMs, endMs }: Counted,
): MeasureValues {
  const measures: MeasureValues = {};
  const isAlone = isOneWay || backward.packets === 0;
  addDirectionMeasures(measures, 'forward', protocol, forward, {
    ...duration(isAlone ? endMs - startMs : get('durationIn')),
    ...lengths(get('lengthMin'), get('lengthMax')),
  });
  const reverseMs = get('reverseEndMs') - get('reverseStartMs');
  addDirectionMeasures(measures, 'backward', protocol, backward, {
    ...duration(Number.isNaN(reverseMs) ? get('durationOut') : reverseMs),
    ...lengths(get('reverseLengthMin'), get('reverseLengthMax')),
  });
  for (const [measure, slot] of DIRECT) {
    const value = get(slot);
    if (!Number.isNaN(value) && !(isOneWay && measure.startsWith('backward'))) measures[measure] = value;
  }
  const code = get('dnsReturnCode');
  if (!Number.isNaN(code) && !Number.isNaN(get('dnsQueryType'))) measures.dns_failures = code > 0 ? 1 : 0;
  return measures;
}

function duration(durationMs: Milliseconds): ReportedDirection {
  return durationMs >= 0 ? { durationMs } : {};
}

/** IP lengths; nProbe sends 0 where it has none. */
function lengths(lengthMin: number, lengthMax: number): ReportedDirection {
  return lengthMin > 0 && lengthMin <= lengthMax ? { lengthMin, lengthMax } : {};
}

/** Elements of nProbe that are measures of ours. */
const DIRECT: readonly (readonly [keyof MeasureValues, SlotName])[] = [
  ['forward_retransmitted_packets', 'retransmittedIn'],
  ['backward_retransmitted_packets', 'retransmittedOut'],
  ['forward_out_of_order_packets', 'outOfOrderIn'],
  ['backward_out_of_order_packets', 'outOfOrderOut'],
  ['forward_window_max', 'windowMaxIn'],
  ['backward_window_max', 'windowMaxOut'],
  ['packets_to_128', 'packetsTo128'],
  ['packets_to_256', 'packetsTo256'],
  ['packets_to_512', 'packetsTo512'],
  ['packets_to_1024', 'packetsTo1024'],
  ['packets_to_1514', 'packetsTo1514'],
  ['dns_query_type', 'dnsQueryType'],
  ['dns_answers', 'dnsAnswers'],
  ['dns_ttl_min', 'dnsTtl'],
];

function recordNames(values: RecordValues): FlowNames | undefined {
  const [dns, sni] = values.texts;
  if (!dns && !sni) return undefined;
  return { ...(dns && { dns: [dns] }), ...(sni && { sni }) };
}
