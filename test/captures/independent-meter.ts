import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What one direction of a five-tuple sent, by an independent parser. */
export interface DirectionSum {
  packets: number;
  bytes: number;
}

/** A five-tuple, both directions; the key of `directions` is the sender's endpoint. */
export interface FlowSum {
  readonly directions: Map<string, DirectionSum>;
  firstMs: number;
  lastMs: number;
  /** A packet had IP length 0, so that its bytes are a matter of convention: we count the wire length. */
  hasUnknownLength: boolean;
}

export interface IndependentResult {
  /** By a key that does not depend on the direction. */
  readonly flows: Map<string, FlowSum>;
  /** Packets to which a rule applies, by its name: why it is in no flow, or why its bytes are not compared. */
  readonly rules: Map<string, number>;
}

const FIELDS = [
  'frame.time_epoch',
  'frame.len',
  'frame.protocols',
  'ip.src',
  'ip.dst',
  'ip.proto',
  'ip.len',
  'ip.hdr_len',
  'ip.frag_offset',
  'ipv6.src',
  'ipv6.dst',
  'ipv6.nxt',
  'ipv6.plen',
  'ipv6.hopopts.nxt',
  'ipv6.routing.nxt',
  'ipv6.fraghdr.nxt',
  'ipv6.fraghdr.offset',
  'ipv6.dstopts.nxt',
  'ah.next_header',
  'mip6.proto',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.hdr_len',
  'udp.srcport',
  'udp.dstport',
  'icmp.type',
  'icmp.code',
  'icmpv6.type',
  'icmpv6.code',
] as const;
type Field = (typeof FIELDS)[number];

/** Layers between the wire and IP that our parser reads, in tshark's names, with the length of their headers. */
const CARRIERS: ReadonlyMap<string, number> = new Map([
  ['eth', 14],
  ['ethertype', 0],
  ['vlan', 4],
  ['ieee8021ad', 4],
  ['sll', 16],
  ['null', 4],
  ['raw', 0],
  // The protocol field may be compressed to one byte.
  ['ppp', 1],
  ['pppoes', 6],
  ['chdlc', 4],
]);
const IPV6_CHAIN: Readonly<Record<number, Field>> = {
  0: 'ipv6.hopopts.nxt',
  43: 'ipv6.routing.nxt',
  44: 'ipv6.fraghdr.nxt',
  51: 'ah.next_header',
  60: 'ipv6.dstopts.nxt',
  135: 'mip6.proto',
};

/** Extension headers our parser follows. */
const LONGEST_CHAIN = 16;

/** The key of a flow and the endpoint that sent, so that both sides of the comparison build them alike. */
export function flowKey(
  protocol: number,
  source: string,
  sourcePort: string,
  destination: string,
  destinationPort: string,
) {
  const isIcmp = protocol === 1 || protocol === 58;
  const from = isIcmp ? source : `${source}#${sourcePort}`;
  const to = isIcmp ? destination : `${destination}#${destinationPort}`;
  const message = isIcmp ? ` ${icmpPair(protocol, Number(sourcePort))}/${destinationPort}` : '';
  return { key: `${protocol}${message} ${[from, to].sort().join(' ')}`, from };
}

/** Names a request and its reply alike (RFC 792, 950, 1256, 4443, 4861). */
function icmpPair(protocol: number, type: number): string {
  const pairs =
    protocol === 1
      ? ['0,8', '9,10', '13,14', '15,16', '17,18']
      : ['128,129', '133,134', '135,136', '139,140'];
  return pairs.find((pair) => pair.split(',').includes(String(type))) ?? String(type);
}

/**
 * Meters a capture by tshark's dissection of each packet, added up here. tshark must not reassemble, so that each
 * frame stands for itself.
 */
export async function meterIndependently(path: string): Promise<IndependentResult> {
  const preferences = ['ip.defragment', 'ipv6.defragment', 'tcp.desegment_tcp_streams'].flatMap((name) => [
    '-o',
    `${name}:FALSE`,
  ]);
  const format = ['-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=,'];
  const fields = FIELDS.flatMap((field) => ['-e', field]);
  const output = await runTshark(['-n', '-r', path, ...preferences, ...format, ...fields]);
  const result: IndependentResult = { flows: new Map(), rules: new Map() };
  for (const line of output.split('\n')) {
    const rule = line === '' ? undefined : addPacket(result, line);
    if (rule !== undefined) result.rules.set(rule, (result.rules.get(rule) ?? 0) + 1);
  }
  return result;
}

/** tshark ends with 2 on a capture that is cut short, after it has printed all packets before. */
async function runTshark(args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)('tshark', args, { maxBuffer: 1 << 28 })).stdout;
  } catch (error) {
    const isCut = typeof error === 'object' && error !== null && 'code' in error && error.code === 2;
    if (isCut && 'stdout' in error) return String(error.stdout);
    throw error;
  }
}

/** Adds one packet; returns the rule that applies to it. */
function addPacket(result: IndependentResult, line: string): string | undefined {
  const cells = line.split('\t');
  const all = (field: Field) => (cells[FIELDS.indexOf(field)] ?? '').split(',').filter((cell) => cell !== '');
  const first = (field: Field) => all(field)[0];

  const layers = (first('frame.protocols') ?? '').split(':');
  const ipAt = layers.findIndex((layer) => layer === 'ip' || layer === 'ipv6');
  if (ipAt < 0) return 'not IP';
  const carriers = layers.slice(0, ipAt);
  if (carriers.some((layer) => !CARRIERS.has(layer))) return 'IP inside a carrier that is not read';
  const isV4 = layers[ipAt] === 'ip';
  const source = first(isV4 ? 'ip.src' : 'ipv6.src');
  const destination = first(isV4 ? 'ip.dst' : 'ipv6.dst');
  const length = isV4 ? Number(first('ip.len')) : 40 + Number(first('ipv6.plen'));
  if (source === undefined || destination === undefined) return 'broken IP header';
  const carrierLength = carriers.reduce((sum, layer) => sum + (CARRIERS.get(layer) ?? 0), 0);
  if (carrierLength + length > Number(first('frame.len'))) return 'IP length beyond the wire';
  if (isV4 && Number(first('ip.frag_offset')) > 0) return 'later fragment';

  let protocol = Number(first(isV4 ? 'ip.proto' : 'ipv6.nxt'));
  if (!isV4) {
    const used = new Map<Field, number>();
    let headers = 0;
    for (let field = IPV6_CHAIN[protocol]; field !== undefined; field = IPV6_CHAIN[protocol]) {
      if (++headers > LONGEST_CHAIN) return 'more extension headers than we follow';
      const seen = used.get(field) ?? 0;
      used.set(field, seen + 1);
      if (field === 'ipv6.fraghdr.nxt' && Number(all('ipv6.fraghdr.offset')[seen] ?? 0) > 0)
        return 'later fragment';
      const next = all(field)[seen];
      if (next === undefined) return 'broken extension header';
      protocol = Number(next);
    }
  }
  let ports: readonly (string | undefined)[] = ['0', '0'];
  if (protocol === 6) ports = [first('tcp.srcport'), first('tcp.dstport')];
  else if (protocol === 17) ports = [first('udp.srcport'), first('udp.dstport')];
  else if (protocol === 1 && isV4) ports = [first('icmp.type'), first('icmp.code')];
  else if (protocol === 58 && !isV4) ports = [first('icmpv6.type'), first('icmpv6.code')];
  const [sourcePort, destinationPort] = ports;
  if (sourcePort === undefined || destinationPort === undefined) return 'broken transport header';
  if (protocol === 6) {
    const headerLength = Number(first('tcp.hdr_len'));
    const room = isV4 && length > 0 ? length - Number(first('ip.hdr_len')) : Number.POSITIVE_INFINITY;
    if (!(headerLength >= 20 && headerLength <= room)) return 'broken transport header';
  }

  const { key, from } = flowKey(protocol, source, sourcePort, destination, destinationPort);
  const timeMs = Number(first('frame.time_epoch')) * 1000;
  const flow = result.flows.get(key) ?? {
    directions: new Map(),
    firstMs: timeMs,
    lastMs: timeMs,
    hasUnknownLength: false,
  };
  result.flows.set(key, flow);
  flow.firstMs = Math.min(flow.firstMs, timeMs);
  flow.lastMs = Math.max(flow.lastMs, timeMs);
  const direction = flow.directions.get(from) ?? { packets: 0, bytes: 0 };
  flow.directions.set(from, direction);
  direction.packets++;
  direction.bytes += length;
  if (Number(first(isV4 ? 'ip.len' : 'ipv6.plen')) !== 0) return undefined;
  flow.hasUnknownLength = true;
  return 'IP length 0';
}
