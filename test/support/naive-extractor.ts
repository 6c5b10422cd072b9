import { ColumnCodec, type FeatureColumn, type LoadedSchema } from '../../src/features/index.ts';
import { type FlowRecord, TCP_FLAGS } from '../../src/traffic/index.ts';
import { NaiveSlidingWindows } from './naive-sliding-windows.ts';

/** A category by its name, anything else as a number; NaN or undefined where there is none. */
type Value = number | string | undefined;

/** The slow, obvious twin of the extractor with sliding windows: an object of values for each flow, then each column's codec. */
export class NaiveExtractor {
  readonly #columns: readonly FeatureColumn[];
  readonly #windows: NaiveSlidingWindows;

  constructor({ schema }: LoadedSchema) {
    if (schema.windows === undefined || !('kind' in schema.windows))
      throw new TypeError('expected sliding windows');
    this.#columns = schema.columns;
    this.#windows = new NaiveSlidingWindows(schema.windows);
  }

  /** The vector; with the first column that refuses the flow where one does. */
  extract(flow: FlowRecord): { values: number[]; refused?: string; code?: string } {
    if (!Number.isFinite(flow.startMs) || !Number.isFinite(flow.endMs)) {
      return { values: this.#columns.map(() => Number.NaN), refused: '', code: 'features.flow-malformed' };
    }
    const known: Record<string, Value> = { ...ownValues(flow), ...this.#windows.add(flow) };
    const values: number[] = [];
    for (const column of this.#columns) {
      if (!(column.name in known)) throw new TypeError(`the twin does not know ${column.name}`);
      const codec = new ColumnCodec(column);
      const raw = column.absentIn?.includes(flow.sourceKind) ? undefined : known[column.name];
      let value: number;
      if (raw === undefined || Number.isNaN(raw)) value = codec.fromNothing();
      else if (typeof raw === 'string') value = codec.fromCategory(raw);
      else value = codec.fromNumber(raw);
      if (codec.problem !== undefined) {
        return { values: this.#columns.map(() => Number.NaN), refused: column.name, code: codec.problem };
      }
      values.push(Math.fround(value));
    }
    return { values };
  }
}

function ownValues(flow: FlowRecord): Record<string, Value> {
  const { forward, backward, protocol, measures = {} } = flow;
  const duration = Math.max(0, flow.endMs - flow.startMs);
  const seconds = Math.max(1, duration / 1000);
  const bytes = forward.bytes + backward.bytes;
  const hasPorts = protocol === 6 || protocol === 17;
  const side = (name: 'forward' | 'backward') => {
    const counts = flow[name];
    const own = Math.max(1, (measures[`${name}_duration_ms`] ?? Number.NaN) / 1000);
    return {
      [`${name}_packets`]: counts.packets,
      [`${name}_bytes`]: counts.bytes,
      [`${name}_payload`]: counts.payloadBytes,
      [`${name}_bytes_per_packet`]: counts.packets === 0 ? 0 : counts.bytes / counts.packets,
      [`${name}_byte_rate`]: counts.bytes / seconds,
      [`${name}_throughput`]: (8 * counts.bytes) / own,
      ...Object.fromEntries(
        Object.entries(TCP_FLAGS).map(([flag, bit]) => [
          `${name}_${flag}`,
          Number.isNaN(counts.tcpFlags) ? undefined : Math.floor(counts.tcpFlags / bit) % 2,
        ]),
      ),
    };
  };
  const lengths = [measures.forward_length_min ?? Number.NaN, measures.backward_length_min ?? Number.NaN];
  const present = lengths.filter((length) => length !== 0);
  return {
    ...Object.fromEntries(measureNames.map((name) => [name, measures[name as keyof typeof measures]])),
    protocol: hasPorts
      ? protocol === 6
        ? 'tcp'
        : 'udp'
      : protocol === 1 || protocol === 58
        ? 'icmp'
        : 'other',
    service: hasPorts ? serviceOf(flow.destinationPort) : 'none',
    source_port: hasPorts ? rangeOf(flow.sourcePort) : 'none',
    icmp: icmpOf(protocol, flow.sourcePort),
    state: stateOf(flow),
    tunnel: flow.tunnel?.kind ?? 'none',
    dns_query: queryOf(measures.dns_query_type),
    handshake: flow.handshakeSeen === undefined ? undefined : Number(flow.handshakeSeen),
    duration,
    ...side('forward'),
    ...side('backward'),
    forward_byte_share: forward.bytes / bytes,
    payload_share: (forward.payloadBytes + backward.payloadBytes) / bytes,
    packet_rate: (forward.packets + backward.packets) / seconds,
    byte_rate: bytes / seconds,
    length_min: present.length === 0 ? 0 : Math.min(...present),
    length_max: Math.max(
      measures.forward_length_max ?? Number.NaN,
      measures.backward_length_max ?? Number.NaN,
    ),
  };
}

const directions = (...names: string[]) => names.flatMap((name) => [`forward_${name}`, `backward_${name}`]);
const measureNames = [
  ...directions('length_min', 'length_max', 'length_mean', 'length_std', 'duration_ms'),
  ...directions('iat_min_ms', 'iat_max_ms', 'iat_mean_ms', 'iat_std_ms'),
  ...directions('retransmitted_packets', 'retransmitted_bytes', 'out_of_order_packets', 'window_max'),
  ...[128, 256, 512, 1024, 1514].map((bytes) => `packets_to_${bytes}`),
  ...['active_min_ms', 'active_max_ms', 'active_mean_ms'],
  ...['idle_count', 'idle_min_ms', 'idle_max_ms', 'idle_mean_ms'],
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => `first_length_${n}`),
  ...['dns_queries', 'dns_responses', 'dns_failures', 'dns_answers'],
  ...['dns_name_length_max', 'dns_labels_max', 'dns_name_entropy_max', 'tls_name_length', 'tls_name_entropy'],
];

function rangeOf(port: number): string {
  return port < 1024 ? 'system' : port < 49_152 ? 'registered' : 'dynamic';
}

function serviceOf(port: number): string {
  const lists: Record<string, string> = {
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
  const named = Object.entries(lists).find(([, ports]) => ports.split(' ').includes(String(port)));
  if (named !== undefined) return named[0];
  return port < 1024 ? 'other-wellknown' : rangeOf(port);
}

function icmpOf(protocol: number, type: number): string {
  if (protocol !== 1 && protocol !== 58) return 'none';
  const v4: Record<number, string> = {
    0: 'echo-reply',
    3: 'unreachable',
    5: 'redirect',
    8: 'echo-request',
    11: 'time-exceeded',
  };
  const v6: Record<number, string> = {
    1: 'unreachable',
    3: 'time-exceeded',
    128: 'echo-request',
    129: 'echo-reply',
    137: 'redirect',
    ...Object.fromEntries([133, 134, 135, 136].map((n) => [n, 'neighbour'])),
    ...Object.fromEntries([130, 131, 132, 143].map((n) => [n, 'multicast'])),
  };
  return (protocol === 1 ? v4 : v6)[type % 256] ?? 'other';
}

function stateOf({ protocol, state }: FlowRecord): string {
  if (protocol !== 6) return state === 'S0' ? 'one-way' : 'two-way';
  if (state === 'S0') return 'attempt';
  if (state === 'REJ') return 'rejected';
  if (state.startsWith('RST')) return 'reset';
  return ['S1', 'S2', 'S3', 'SF'].includes(state) ? 'established' : 'partial';
}

function queryOf(type: number | undefined): string | undefined {
  if (type === undefined || !(type > 0)) return undefined;
  const names: Record<number, string> = {
    1: 'a',
    2: 'ns',
    5: 'cname',
    6: 'soa',
    10: 'null',
    12: 'ptr',
    15: 'mx',
  };
  const more: Record<number, string> = { 16: 'txt', 28: 'aaaa', 33: 'srv', 64: 'https', 65: 'https' };
  return { ...names, ...more, 251: 'transfer', 252: 'transfer', 255: 'any' }[Math.floor(type)] ?? 'other';
}
