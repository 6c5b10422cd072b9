import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { CONNECTION_STATES, type FlowRecord } from '../traffic/index.ts';
import { checkSchema } from './check-schema.ts';
import { PROTOCOL_CLASSES, SERVICE_CLASSES, STATE_CLASSES } from './flow-classes.ts';
import { FlowExtractor } from './flow-extractor.ts';
import { loadSchema } from './load-schema.ts';
import type { LoadedSchema, WindowLimits } from './schema.ts';

const core = await loadSchema('flow-core');

/** flow-core with small windows, so that random flows run over every edge of them. */
function small(connections: number, historyFlows: number): LoadedSchema {
  const windows = { ...core.schema.windows, connections, historyFlows, intervals: 6 };
  return checkSchema({ ...core.schema, windows });
}

/** Mostly the first, so that channels grow long. */
function often<T>(first: T, ...rest: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant(first) }, fc.constantFrom(...rest));
}

const counts = fc.oneof({ weight: 12, arbitrary: fc.nat(5000) }, fc.constant(Number.NaN));
const direction = fc.record({ packets: counts, bytes: counts, payloadBytes: counts, tcpFlags: fc.nat(255) });
const randomFlow: fc.Arbitrary<FlowRecord> = fc
  .record({
    protocol: often(6, 17, 1, 58, 47),
    sourceAddress: often('10.0.0.1', '10.0.0.2', 'fd00::1'),
    destinationAddress: often('10.0.0.9', '10.0.0.1', 'fd00::2', '192.0.2.1'),
    sourcePort: fc.nat(65_535),
    destinationPort: fc.oneof({ weight: 4, arbitrary: often(443, 22, 53) }, fc.nat(65_535)),
    startMs: fc.nat(150_000),
    duration: fc.integer({ min: -5, max: 90_000 }),
    forward: direction,
    backward: direction,
    state: fc.constantFrom(...CONNECTION_STATES),
  })
  .map(({ duration, ...rest }) => ({
    ...rest,
    // Both ends of a flow are of one IP version.
    destinationAddress:
      rest.sourceAddress.includes(':') === rest.destinationAddress.includes(':')
        ? rest.destinationAddress
        : rest.sourceAddress,
    sourceKind: 'zeek',
    endMs: rest.startMs + duration,
    endReason: 'reported',
  }));

describe('the windows', () => {
  test('agrees with its naive twin to the bit, on any flows in any order', () => {
    fc.assert(
      fc.property(
        fc.array(randomFlow, { maxLength: 40 }),
        fc.constantFrom([3, 1000], [100, 1000], [5, 7], [100, 12]),
        (flows, [connections = 0, historyFlows = 0]) => {
          const loaded = small(connections, historyFlows);
          const { values, columns } = new FlowExtractor(loaded).extract(flows);
          for (let row = 0; row < flows.length; row++) {
            const expected = naiveFlowRow(flows, row, loaded);
            const got = values.subarray(row * columns, (row + 1) * columns);
            for (const [c, column] of loaded.schema.columns.entries()) {
              assert.ok(
                Object.is(got[c], expected[c]),
                `row ${row} ${column.name}: ${got[c]}, not ${expected[c]}`,
              );
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('give the same values however the stream is cut into batches', () => {
    const loaded = small(100, 1000);
    fc.assert(
      fc.property(fc.array(randomFlow, { maxLength: 30 }), fc.integer({ min: 1, max: 7 }), (flows, size) => {
        const whole = new FlowExtractor(loaded).extract(flows).values;
        const cut = new FlowExtractor(loaded);
        const parts: number[] = [];
        for (let i = 0; i < flows.length; i += size)
          parts.push(...cut.extract(flows.slice(i, i + size)).values);
        assert.deepEqual(parts, [...whole]);
      }),
      { numRuns: 30 },
    );
  });
});

/**
 * The slow, obvious twin of the flow extractor: looks at the whole past of one flow again for each column.
 * Sums run from the newest flow to the oldest, as the extractor's do, so that even the last bit agrees.
 */
function naiveFlowRow(flows: readonly FlowRecord[], row: number, { schema }: LoadedSchema): Float32Array {
  const windows = schema.windows;
  if (windows === undefined || 'kind' in windows) throw new TypeError('expected a schema of flows');
  const flow = flows[row] as FlowRecord;
  const past = flows.slice(Math.max(0, row + 1 - windows.historyFlows), row + 1).reverse();
  const values = { ...ownValues(flow), ...windowValues(flow, past, windows) } as Record<string, number>;
  return Float32Array.from(schema.columns, (column) => {
    const raw = values[column.name] ?? assertKnown(column.name);
    if (column.range === undefined || Number.isNaN(raw)) return raw;
    const clipped = Math.min(Math.max(raw, column.range[0]), column.range[1]);
    return column.transform === 'log1p' ? Math.log1p(clipped) : clipped;
  });
}

function assertKnown(name: string): never {
  throw new TypeError(`the twin does not know ${name}`);
}

function ownValues({ forward, backward, ...flow }: FlowRecord): Record<string, number> {
  const duration = Math.max(0, flow.endMs - flow.startMs);
  const seconds = Math.max(duration, 1000) / 1000;
  const bytes = forward.bytes + backward.bytes;
  return {
    protocol: PROTOCOL_CLASSES.indexOf(protocolOf(flow.protocol)),
    service: SERVICE_CLASSES.indexOf(serviceOf(flow.protocol, flow.destinationPort)),
    state: STATE_CLASSES.indexOf(stateOf(flow.protocol, flow.state)),
    duration,
    forward_packets: forward.packets,
    backward_packets: backward.packets,
    forward_bytes: forward.bytes,
    backward_bytes: backward.bytes,
    forward_bytes_per_packet: forward.packets === 0 ? 0 : forward.bytes / forward.packets,
    backward_bytes_per_packet: backward.packets === 0 ? 0 : backward.bytes / backward.packets,
    forward_byte_share: forward.bytes / bytes,
    packet_rate: (forward.packets + backward.packets) / seconds,
    byte_rate: bytes / seconds,
    forward_payload: forward.payloadBytes,
    backward_payload: backward.payloadBytes,
    payload_share: (forward.payloadBytes + backward.payloadBytes) / bytes,
  };
}

function windowValues(
  flow: FlowRecord,
  past: readonly FlowRecord[],
  { connections, shortMs, longMs, intervals }: WindowLimits,
): Record<string, number> {
  const last = (same: (other: FlowRecord) => boolean) => past.filter(same).slice(0, connections);
  const within = (all: readonly FlowRecord[], ms: number) =>
    all.filter((other) => Math.abs(other.startMs - flow.startMs) <= ms);
  const isSource = (other: FlowRecord) => other.sourceAddress === flow.sourceAddress;
  const isDestination = (other: FlowRecord) => other.destinationAddress === flow.destinationAddress;
  const sameService = (other: FlowRecord) => serviceText(other) === serviceText(flow);
  const src = last(isSource);
  const dst = last(isDestination);
  const pair = last((other) => isSource(other) && isDestination(other));
  const channel = last((other) => isSource(other) && isDestination(other) && sameService(other));
  const srcLong = within(src, longMs);
  const dstShort = within(dst, shortMs);
  const pairLong = within(pair, longMs);
  const channelLong = within(channel, longMs);
  const sent = channelLong.filter(({ forward }) => known(forward.packets + forward.bytes));
  const got = channelLong.filter(({ backward }) => known(backward.packets + backward.bytes));
  const outPackets = sumKnown(sent.map(({ forward }) => forward.packets));
  const inPackets = sumKnown(got.map(({ backward }) => backward.packets));
  const regular = channel.slice(0, intervals);
  return {
    src_count_short: within(src, shortMs).length,
    src_count_long: srcLong.length,
    src_count_last: src.length,
    src_span_last: span(src),
    src_hosts_long: distinct(srcLong, (other) => other.destinationAddress),
    src_hosts_last: distinct(src, (other) => other.destinationAddress),
    src_ports_last: distinct(src, serviceText),
    src_failed_share_long: failedShare(srcLong),
    src_failed_share_last: failedShare(src),
    src_same_service_share_last: src.filter(sameService).length / src.length,
    src_same_service_hosts_last: distinct(src.filter(sameService), (other) => other.destinationAddress),
    src_mean_bytes_last: meanKnown(src.map(bytesOf)),
    src_out_bytes_long: sumKnown(srcLong.map(({ forward }) => forward.bytes)),
    src_in_bytes_long: sumKnown(srcLong.map(({ backward }) => backward.bytes)),
    dst_count_short: dstShort.length,
    dst_count_long: within(dst, longMs).length,
    dst_count_last: dst.length,
    dst_span_last: span(dst),
    dst_sources_last: distinct(dst, (other) => other.sourceAddress),
    dst_ports_last: distinct(dst, serviceText),
    dst_failed_share_short: failedShare(dstShort),
    dst_failed_share_last: failedShare(dst),
    dst_same_service_share_last: dst.filter(sameService).length / dst.length,
    dst_mean_bytes_last: meanKnown(dst.map(bytesOf)),
    dst_open_last: dst.filter((other) => overlaps(other, flow)).length,
    pair_count_long: pairLong.length,
    pair_count_last: pair.length,
    pair_ports_long: distinct(pairLong, serviceText),
    pair_ports_last: distinct(pair, serviceText),
    pair_failed_share_last: failedShare(pair),
    pair_out_bytes_long: sumKnown(pairLong.map(({ forward }) => forward.bytes)),
    pair_in_bytes_long: sumKnown(pairLong.map(({ backward }) => backward.bytes)),
    pair_out_bytes_last: sumKnown(pair.map(({ forward }) => forward.bytes)),
    channel_count_short: within(channel, shortMs).length,
    channel_count_long: channelLong.length,
    channel_count_last: channel.length,
    channel_open_last: channel.filter((other) => overlaps(other, flow)).length,
    channel_interval_mean: regular.length < 4 ? Number.NaN : span(regular) / (regular.length - 1),
    channel_interval_variation: intervalVariation(regular),
    channel_bytes_variation: regular.length < 4 ? Number.NaN : variation(regular.map(bytesOf)),
    channel_mean_duration: meanKnown(channel.map(({ startMs, endMs }) => Math.max(0, endMs - startMs))),
    channel_out_packets_long: outPackets,
    channel_out_bytes_per_packet_long:
      outPackets === 0 ? 0 : sumKnown(sent.map(({ forward }) => forward.bytes)) / outPackets,
    channel_in_bytes_per_packet_long:
      inPackets === 0 ? 0 : sumKnown(got.map(({ backward }) => backward.bytes)) / inPackets,
  };
}

const known = (value: number) => !Number.isNaN(value);
const bytesOf = ({ forward, backward }: FlowRecord) => forward.bytes + backward.bytes;
const hasPorts = (protocol: number) => protocol === 6 || protocol === 17;
const serviceText = ({ protocol, destinationPort }: FlowRecord) =>
  hasPorts(protocol) ? `${protocol}/${destinationPort}` : `${protocol}`;

function sumKnown(values: readonly number[]): number {
  const reported = values.filter(known);
  return reported.length === 0 ? Number.NaN : reported.reduce((sum, value) => sum + value, 0);
}

function meanKnown(values: readonly number[]): number {
  return sumKnown(values) / values.filter(known).length;
}

function distinct(flows: readonly FlowRecord[], of: (flow: FlowRecord) => string): number {
  return new Set(flows.map(of)).size;
}

function span(flows: readonly FlowRecord[]): number {
  const starts = flows.map((flow) => flow.startMs);
  return (Math.max(...starts) - Math.min(...starts)) / 1000;
}

function failedShare(flows: readonly FlowRecord[]): number {
  const tcp = ['S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH', 'SHR'];
  const failed = flows.filter(({ protocol, state }) =>
    protocol === 6 ? tcp.includes(state) : state === 'S0',
  );
  return failed.length / flows.length;
}

function overlaps(a: FlowRecord, b: FlowRecord): boolean {
  return a.startMs <= Math.max(b.startMs, b.endMs) && Math.max(a.startMs, a.endMs) >= b.startMs;
}

function intervalVariation(flows: readonly FlowRecord[]): number {
  if (flows.length < 4) return Number.NaN;
  const starts = flows.map((flow) => flow.startMs).sort((a, b) => b - a);
  const gaps = starts.slice(1).map((start, i) => (starts[i] as number) - start);
  const mean = ((starts[0] as number) - (starts.at(-1) as number)) / gaps.length;
  return mean > 0 ? deviation(gaps, mean) / mean : Number.NaN;
}

function variation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return mean > 0 ? deviation(values, mean) / mean : Number.NaN;
}

function deviation(values: readonly number[], mean: number): number {
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) * (value - mean), 0) / values.length);
}

function protocolOf(protocol: number): (typeof PROTOCOL_CLASSES)[number] {
  return ({ 6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp' } as const)[protocol] ?? 'other';
}

function serviceOf(protocol: number, port: number): (typeof SERVICE_CLASSES)[number] {
  if (!hasPorts(protocol)) return 'none';
  const lists: Partial<Record<(typeof SERVICE_CLASSES)[number], string>> = {
    dns: '53 853',
    http: '80 8000 8008 8080 8888',
    https: '443 8443',
    ssh: '22 2222',
    telnet: '23 2323',
    ftp: '20 21',
    mail: '25 110 143 465 587 993 995',
    ntp: '123',
    smb: '139 445',
    'remote-desktop': '3389 5900',
    database: '1433 1521 3306 5432 6379 9042 9200 11211 27017',
    dhcp: '67 68 546 547',
    snmp: '161 162',
    discovery: '137 138 1900 3702 5353 5355',
  };
  const named = SERVICE_CLASSES.find((name) => lists[name]?.split(' ').includes(String(port)));
  if (named !== undefined) return named;
  if (port < 1024) return 'other-wellknown';
  return port < 49_152 ? 'registered' : 'dynamic';
}

function stateOf(protocol: number, state: FlowRecord['state']): (typeof STATE_CLASSES)[number] {
  if (protocol !== 6) return state === 'S0' ? 'one-way' : 'two-way';
  if (state === 'S0') return 'attempt';
  if (state === 'REJ') return 'rejected';
  if (state.startsWith('RST')) return 'reset';
  return ['S1', 'S2', 'S3', 'SF'].includes(state) ? 'established' : 'partial';
}
