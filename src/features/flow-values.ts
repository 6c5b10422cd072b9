import {
  FLOW_NUMBER_INDEX as AT,
  DIRECTION_MEASURES,
  FLOW_MEASURES,
  type FlowBatch,
  type FlowNumber,
  HANDSHAKE,
  IDENTITY,
  IDENTITY_WORDS,
  TCP_FLAGS,
} from '../traffic/index.ts';
import {
  DNS_QUERY_CLASSES,
  dnsQueryClass,
  ICMP_CLASSES,
  icmpClass,
  PORT_CLASSES,
  PROTOCOL_CLASSES,
  portClass,
  protocolClass,
  SERVICE_CLASSES,
  STATE_CLASSES,
  serviceClass,
  stateClass,
  TUNNEL_CLASSES,
} from './flow-classes.ts';

/** Rates of flows shorter than this are taken over this: one packet in no time is no rate. */
const SHORTEST_MS = 1000;

/**
 * Writes one value a row, NaN where it is missing, for rows [from, to) of a batch into `cells` from `at` on.
 * Hot: a loop over the rows that allocates nothing.
 */
export type FlowDerivation = (
  batch: FlowBatch,
  from: number,
  to: number,
  cells: Float64Array,
  at: number,
) => void;

/** What a flow tells by itself: a number column of the batch as it is, one bit of it, or something derived from several. */
export type FlowValue =
  | { readonly number: FlowNumber; readonly bit?: number }
  | { readonly derive: FlowDerivation; readonly categories?: readonly string[] };

const copied = (...names: readonly FlowNumber[]) =>
  names.map((number): readonly [string, FlowValue] => [number, { number }]);

const flags = (side: 'forward' | 'backward') =>
  Object.entries(TCP_FLAGS).map(([name, bit]): readonly [string, FlowValue] => [
    `${side}_${name}`,
    { number: `${side}_tcp_flags`, bit },
  ]);

/** Everything that is known of a flow without its past, by the name of the column. */
export const FLOW_VALUES: ReadonlyMap<string, FlowValue> = new Map<string, FlowValue>([
  ['protocol', { derive: fromKind((kind) => protocolClass(kind & 255)), categories: PROTOCOL_CLASSES }],
  [
    'service',
    {
      derive: fromPorts((kind, ports) => serviceClass(kind & 255, ports & 0xffff)),
      categories: SERVICE_CLASSES,
    },
  ],
  [
    'source_port',
    { derive: fromPorts((kind, ports) => portClass(kind & 255, ports >>> 16)), categories: PORT_CLASSES },
  ],
  [
    'icmp',
    { derive: fromPorts((kind, ports) => icmpClass(kind & 255, ports >>> 16)), categories: ICMP_CLASSES },
  ],
  ['state', { derive: deriveState, categories: STATE_CLASSES }],
  ['tunnel', { derive: fromKind((kind) => kind >>> 16), categories: TUNNEL_CLASSES }],
  ['handshake', { derive: deriveHandshake }],
  ['duration', { derive: deriveDuration }],
  ...copied('forward_packets', 'backward_packets', 'forward_bytes', 'backward_bytes'),
  ['forward_payload', { number: 'forward_payload_bytes' }],
  ['backward_payload', { number: 'backward_payload_bytes' }],
  ['forward_bytes_per_packet', { derive: ratioOf(AT.forward_bytes, AT.forward_packets) }],
  ['backward_bytes_per_packet', { derive: ratioOf(AT.backward_bytes, AT.backward_packets) }],
  ['forward_byte_share', { derive: deriveByteShare }],
  ['payload_share', { derive: derivePayloadShare }],
  ['packet_rate', { derive: rateOf(AT.forward_packets, AT.backward_packets) }],
  ['byte_rate', { derive: rateOf(AT.forward_bytes, AT.backward_bytes) }],
  ['forward_byte_rate', { derive: rateOf(AT.forward_bytes) }],
  ['backward_byte_rate', { derive: rateOf(AT.backward_bytes) }],
  ['forward_throughput', { derive: throughputOf(AT.forward_bytes, AT.forward_duration_ms) }],
  ['backward_throughput', { derive: throughputOf(AT.backward_bytes, AT.backward_duration_ms) }],
  ...flags('forward'),
  ...flags('backward'),
  ...DIRECTION_MEASURES.flatMap((name) => copied(`forward_${name}`, `backward_${name}`)),
  ...copied(...FLOW_MEASURES),
  ['length_min', { derive: deriveShortest }],
  ['length_max', { derive: deriveLongest }],
  ['dns_query', { derive: deriveQuery, categories: DNS_QUERY_CLASSES }],
]);

function fromKind(classOf: (kind: number) => number): FlowDerivation {
  return ({ identity }, from, to, cells, at) => {
    for (let row = from, out = at; row < to; row++, out++) {
      cells[out] = classOf(identity[row * IDENTITY_WORDS + IDENTITY.kind] as number);
    }
  };
}

/** Ports are given as int32: a larger number would become an object on its way into the call. */
function fromPorts(classOf: (kind: number, ports: number) => number): FlowDerivation {
  return ({ identity }, from, to, cells, at) => {
    for (let row = from, out = at; row < to; row++, out++) {
      const id = row * IDENTITY_WORDS;
      cells[out] = classOf(
        identity[id + IDENTITY.kind] as number,
        (identity[id + IDENTITY.ports] as number) | 0,
      );
    }
  };
}

function deriveState(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { identity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    const id = row * IDENTITY_WORDS;
    const kind = identity[id + IDENTITY.kind] as number;
    cells[out] = stateClass(kind & 255, (identity[id + IDENTITY.outcome] as number) & 255);
  }
}

function deriveHandshake(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { identity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    const handshake = ((identity[row * IDENTITY_WORDS + IDENTITY.outcome] as number) >>> 16) & 255;
    cells[out] = handshake === HANDSHAKE.seen ? 1 : handshake === HANDSHAKE.unseen ? 0 : Number.NaN;
  }
}

function deriveDuration(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { numbers, capacity } = batch;
  const starts = AT.start_ms * capacity;
  const ends = AT.end_ms * capacity;
  for (let row = from, out = at; row < to; row++, out++) {
    cells[out] = Math.max(0, (numbers[ends + row] as number) - (numbers[starts + row] as number));
  }
}

/** 0 where nothing was counted, so that a silent side is a value and not a gap. */
function ratioOf(part: number, whole: number): FlowDerivation {
  return ({ numbers, capacity }, from, to, cells, at) => {
    for (let row = from, out = at; row < to; row++, out++) {
      const divisor = numbers[whole * capacity + row] as number;
      cells[out] = divisor === 0 ? 0 : (numbers[part * capacity + row] as number) / divisor;
    }
  };
}

/** 0 / 0 is NaN: no bytes, no share. */
function deriveByteShare(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { numbers, capacity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    const forward = numbers[AT.forward_bytes * capacity + row] as number;
    cells[out] = forward / (forward + (numbers[AT.backward_bytes * capacity + row] as number));
  }
}

function derivePayloadShare(
  batch: FlowBatch,
  from: number,
  to: number,
  cells: Float64Array,
  at: number,
): void {
  const { numbers, capacity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    const payload =
      (numbers[AT.forward_payload_bytes * capacity + row] as number) +
      (numbers[AT.backward_payload_bytes * capacity + row] as number);
    const bytes =
      (numbers[AT.forward_bytes * capacity + row] as number) +
      (numbers[AT.backward_bytes * capacity + row] as number);
    cells[out] = payload / bytes;
  }
}

/** One count, or the sum of two, a second of the flow. */
function rateOf(count: number, other?: number): FlowDerivation {
  return ({ numbers, capacity }, from, to, cells, at) => {
    for (let row = from, out = at; row < to; row++, out++) {
      const ms =
        (numbers[AT.end_ms * capacity + row] as number) - (numbers[AT.start_ms * capacity + row] as number);
      let sum = numbers[count * capacity + row] as number;
      if (other !== undefined) sum += numbers[other * capacity + row] as number;
      cells[out] = sum / (Math.max(ms, SHORTEST_MS) / 1000);
    }
  };
}

/** Bits a second of the direction's own duration. */
function throughputOf(bytes: number, duration: number): FlowDerivation {
  return ({ numbers, capacity }, from, to, cells, at) => {
    for (let row = from, out = at; row < to; row++, out++) {
      const seconds = Math.max(numbers[duration * capacity + row] as number, SHORTEST_MS) / 1000;
      cells[out] = (8 * (numbers[bytes * capacity + row] as number)) / seconds;
    }
  };
}

/** Shortest packet of either direction; a direction without packets has no shortest one. */
function deriveShortest(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { numbers, capacity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    const forward = numbers[AT.forward_length_min * capacity + row] as number;
    const backward = numbers[AT.backward_length_min * capacity + row] as number;
    cells[out] = forward === 0 ? backward : backward === 0 ? forward : Math.min(forward, backward);
  }
}

function deriveLongest(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { numbers, capacity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    cells[out] = Math.max(
      numbers[AT.forward_length_max * capacity + row] as number,
      numbers[AT.backward_length_max * capacity + row] as number,
    );
  }
}

function deriveQuery(batch: FlowBatch, from: number, to: number, cells: Float64Array, at: number): void {
  const { numbers, capacity } = batch;
  for (let row = from, out = at; row < to; row++, out++) {
    cells[out] = dnsQueryClass(numbers[AT.dns_query_type * capacity + row] as number);
  }
}
