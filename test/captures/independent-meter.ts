import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A packet as tshark sees it, after its place in the flows was found. */
export interface SeenPacket {
  readonly timeMs: number;
  readonly length: number;
  /** The sender's endpoint. */
  readonly from: string;
  readonly tcpFlags: number;
  readonly window: number;
}

/** The packets of a five-tuple in order of arrival. */
export interface IndependentFlow {
  readonly packets: SeenPacket[];
  /** A packet had IP length 0, so that its bytes are a matter of convention: we count the wire length. */
  hasUnknownLength: boolean;
}

export interface IndependentResult {
  /** By a key that does not depend on the direction. */
  readonly flows: Map<string, IndependentFlow>;
  /** Packets to which a rule applies, by its name: why it is in no flow, or why its bytes are not compared. */
  readonly rules: Map<string, number>;
  /** Ports of datagrams whose first fragment was seen. */
  readonly fragments: Map<string, { readonly timeMs: number; readonly transport: Transport }>;
}

interface Transport {
  readonly protocol: number;
  readonly ports: readonly [string, string];
}

const FIELDS = [
  'frame.interface_id',
  'frame.time_epoch',
  'frame.len',
  'frame.protocols',
  'ip.src',
  'ip.dst',
  'ip.proto',
  'ip.len',
  'ip.hdr_len',
  'ip.id',
  'ip.flags.mf',
  'ip.frag_offset',
  'ipv6.src',
  'ipv6.dst',
  'ipv6.nxt',
  'ipv6.plen',
  'ipv6.hopopts.nxt',
  'ipv6.routing.nxt',
  'ipv6.fraghdr.nxt',
  'ipv6.fraghdr.offset',
  'ipv6.fraghdr.more',
  'ipv6.fraghdr.ident',
  'ipv6.dstopts.nxt',
  'ah.next_header',
  'mip6.proto',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.hdr_len',
  'tcp.flags',
  'tcp.window_size_value',
  'udp.srcport',
  'udp.dstport',
  'icmp.type',
  'icmp.code',
  'icmpv6.type',
  'icmpv6.code',
  'gre.key',
  'vxlan.vni',
  'geneve.vni',
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
  // At least one label.
  ['mpls', 4],
  ['pwethheuristic', 0],
  ['pwethcw', 4],
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
const MOST_WRAPPINGS = 4;
const FRAGMENT_MEMORY_MS = 30_000;

/** The key of a flow and the endpoint that sent, so that both sides of the comparison build them alike. */
export function flowKey(
  protocol: number,
  [source, destination]: readonly [string, string],
  [sourcePort, destinationPort]: readonly [string, string],
  tunnel: string,
): { key: string; from: string } {
  const isIcmp = protocol === 1 || protocol === 58;
  const from = isIcmp ? source : `${source}#${sourcePort}`;
  const to = isIcmp ? destination : `${destination}#${destinationPort}`;
  const message = isIcmp ? ` ${icmpPair(protocol, Number(sourcePort))}/${destinationPort}` : '';
  return { key: `${protocol}${message} ${[from, to].sort().join(' ')}${tunnel}`, from };
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
 * Meters a capture by tshark's dissection of each packet, added up here; a result for each of `interfaces`, those of
 * the same name together. tshark must not reassemble, so that each frame stands for itself.
 */
export async function meterIndependently(
  path: string,
  interfaces?: readonly string[],
): Promise<Map<string, IndependentResult>> {
  const preferences = ['ip.defragment', 'ipv6.defragment', 'tcp.desegment_tcp_streams'].flatMap((name) => [
    '-o',
    `${name}:FALSE`,
  ]);
  const format = ['-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=,'];
  const fields = FIELDS.flatMap((field) => ['-e', field]);
  const tshark = spawn('tshark', ['-n', '-r', path, ...preferences, ...format, ...fields], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(tshark, 'close');
  const results = new Map<string, IndependentResult>();
  for await (const line of createInterface({ input: tshark.stdout })) {
    const packet = new Dissected(line);
    const name = interfaces?.[Number(packet.first('frame.interface_id'))] ?? '';
    const result = results.get(name) ?? { flows: new Map(), rules: new Map(), fragments: new Map() };
    results.set(name, result);
    for (const rule of addPacket(result, packet)) {
      result.rules.set(rule, (result.rules.get(rule) ?? 0) + 1);
    }
  }
  // It ends with 2 on a capture that is cut short, after it has printed all packets before.
  const [code] = await ended;
  if (code !== 0 && code !== 2) throw new Error(`tshark ended with ${code} on ${path}`);
  return results;
}

/** A line of tshark: the values of each field in the order of the layers. */
class Dissected {
  readonly #cells: readonly string[];
  readonly layers: readonly string[];
  readonly timeMs: number;

  constructor(line: string) {
    this.#cells = line.split('\t');
    this.layers = (this.first('frame.protocols') ?? '').split(':');
    const [seconds = '0', fraction = '0'] = (this.first('frame.time_epoch') ?? '').split('.');
    this.timeMs = Number(seconds) * 1000 + Number(fraction.padEnd(9, '0')) / 1e6;
  }

  all(field: Field): string[] {
    const cell = this.#cells[FIELDS.indexOf(field)] ?? '';
    return cell === '' ? [] : cell.split(',');
  }

  first(field: Field): string | undefined {
    return this.all(field)[0];
  }
}

/** Where the walk through the layers of a packet stands: how many layers of each kind lie outside. */
interface Outside {
  readonly layer: number;
  readonly ipv4: number;
  readonly ipv6: number;
  readonly udp: number;
  readonly wrappings: number;
  readonly tunnel: string;
  /** Bytes there are for the next IP packet, at most. */
  readonly room: number;
  /** Values of each chain field that belong to outer packets. */
  readonly chain: ReadonlyMap<Field, number>;
}

type Looked =
  | { readonly is: 'out'; readonly rule: string }
  | { readonly is: 'in'; readonly rules: readonly string[]; readonly place: Place };

interface Place {
  readonly ends: readonly [string, string];
  readonly length: number;
  readonly hasUnknownLength: boolean;
  readonly tunnel: string;
  readonly transport: Transport | undefined;
  /** Of a datagram in fragments. */
  readonly fragmentKey: string | undefined;
  readonly isTcpSegment: boolean;
}

/** Adds one packet; returns the rules that apply to it. */
function addPacket(result: IndependentResult, packet: Dissected): readonly string[] {
  const start: Outside = {
    layer: 0,
    ipv4: 0,
    ipv6: 0,
    udp: 0,
    wrappings: 0,
    tunnel: '',
    room: Number(packet.first('frame.len')),
    chain: new Map(),
  };
  const looked = look(packet, start);
  if (looked.is === 'out') return [looked.rule];
  const { place, rules } = looked;
  const { timeMs } = packet;
  let transport = place.transport;
  if (transport === undefined) {
    const first = result.fragments.get(place.fragmentKey ?? '');
    if (first === undefined || timeMs - first.timeMs > FRAGMENT_MEMORY_MS) return ['later fragment alone'];
    transport = first.transport;
  } else if (place.fragmentKey !== undefined) {
    result.fragments.set(place.fragmentKey, { timeMs, transport });
  }
  const { key, from } = flowKey(transport.protocol, place.ends, transport.ports, place.tunnel);
  const flow = result.flows.get(key) ?? { packets: [], hasUnknownLength: false };
  result.flows.set(key, flow);
  const tcpFlags = place.isTcpSegment ? Number(packet.first('tcp.flags')) & 255 : 0;
  const window = place.isTcpSegment ? Number(packet.first('tcp.window_size_value') ?? 0) : 0;
  flow.packets.push({ timeMs, length: place.length, from, tcpFlags, window });
  flow.hasUnknownLength ||= place.hasUnknownLength;
  return rules;
}

/** The next IP packet at or after `outside.layer`. */
function look(packet: Dissected, outside: Outside): Looked {
  const out = (rule: string): Looked => ({ is: 'out', rule });
  const { layers } = packet;
  const ipAt = layers.findIndex((name, i) => i >= outside.layer && (name === 'ip' || name === 'ipv6'));
  if (ipAt < 0) return out('not IP');
  const carriers = layers.slice(outside.layer, ipAt);
  if (carriers.some((layer) => !CARRIERS.has(layer))) return out('IP inside a carrier that is not read');
  const isV4 = layers[ipAt] === 'ip';
  const nth = isV4 ? outside.ipv4 : outside.ipv6;
  const get = (field: Field) => packet.all(field)[nth];
  const source = get(isV4 ? 'ip.src' : 'ipv6.src');
  const destination = get(isV4 ? 'ip.dst' : 'ipv6.dst');
  const length = isV4 ? Number(get('ip.len')) : 40 + Number(get('ipv6.plen'));
  if (source === undefined || destination === undefined) return out('broken IP header');
  const carrierLength = carriers.reduce((sum, layer) => sum + (CARRIERS.get(layer) ?? 0), 0);
  if (carrierLength + length > outside.room) return out('IP length beyond the wire');
  const hasUnknownLength = Number(get(isV4 ? 'ip.len' : 'ipv6.plen')) === 0;
  const rules = hasUnknownLength ? ['IP length 0'] : [];
  const ends = [source, destination] as const;
  const { tunnel } = outside;

  let protocol = Number(get(isV4 ? 'ip.proto' : 'ipv6.nxt'));
  let fragmentKey: string | undefined;
  const chain = new Map(outside.chain);
  const later = (): Looked => ({
    is: 'in',
    rules: [...rules, 'later fragment of a known datagram'],
    place: { ends, length, hasUnknownLength, tunnel, transport: undefined, fragmentKey, isTcpSegment: false },
  });
  if (isV4) {
    const key = `${ends.join()} ${protocol} ${get('ip.id')}${tunnel}`;
    if (isSet(get('ip.flags.mf')) || Number(get('ip.frag_offset')) > 0) fragmentKey = key;
    if (Number(get('ip.frag_offset')) > 0) return later();
  } else {
    let headers = 0;
    for (let field = IPV6_CHAIN[protocol]; field !== undefined; field = IPV6_CHAIN[protocol]) {
      if (++headers > LONGEST_CHAIN) return out('more extension headers than we follow');
      const seen = chain.get(field) ?? 0;
      chain.set(field, seen + 1);
      if (field === 'ipv6.fraghdr.nxt') {
        const key = `${ends.join()} ${packet.all('ipv6.fraghdr.ident')[seen]}${tunnel}`;
        const isLater = Number(packet.all('ipv6.fraghdr.offset')[seen] ?? 0) > 0;
        if (isLater || isSet(packet.all('ipv6.fraghdr.more')[seen])) fragmentKey = key;
        if (isLater) return later();
      }
      const next = packet.all(field)[seen];
      if (next === undefined) return out('broken extension header');
      protocol = Number(next);
    }
  }
  const inner =
    fragmentKey === undefined ? lookInside(packet, outside, { ipAt, protocol, length, chain }) : undefined;
  if (inner?.is === 'in') return inner;
  if (inner !== undefined) rules.push(`inside a tunnel: ${inner.rule}`);

  let ports: readonly (string | undefined)[] = ['0', '0'];
  if (protocol === 6) ports = [packet.first('tcp.srcport'), packet.first('tcp.dstport')];
  else if (protocol === 17)
    ports = [packet.all('udp.srcport')[outside.udp], packet.all('udp.dstport')[outside.udp]];
  else if (protocol === 1 && isV4) ports = [packet.first('icmp.type'), packet.first('icmp.code')];
  else if (protocol === 58 && !isV4) ports = [packet.first('icmpv6.type'), packet.first('icmpv6.code')];
  const [sourcePort, destinationPort] = ports;
  if (sourcePort === undefined || destinationPort === undefined) return out('broken transport header');
  if (protocol === 6) {
    const headerLength = Number(packet.first('tcp.hdr_len'));
    const room = isV4 && length > 0 ? length - Number(get('ip.hdr_len')) : Number.POSITIVE_INFINITY;
    if (!(headerLength >= 20 && headerLength <= room)) return out('broken transport header');
  }
  const header = isV4 ? Number(get('ip.hdr_len')) : 40;
  if (protocol === 17 && length > 0 && !hasUnknownLength && length - header < 8) {
    return out('broken transport header');
  }
  const transport: Transport = { protocol, ports: [sourcePort, destinationPort] };
  const isTcpSegment = protocol === 6;
  return {
    is: 'in',
    rules,
    place: { ends, length, hasUnknownLength, tunnel, transport, fragmentKey, isTcpSegment },
  };
}

/** The packet inside a tunnel that we open; undefined where there is none. */
function lookInside(
  packet: Dissected,
  outside: Outside,
  ip: { ipAt: number; protocol: number; length: number; chain: ReadonlyMap<Field, number> },
): Looked | undefined {
  if (outside.wrappings === MOST_WRAPPINGS) return undefined;
  const { layers } = packet;
  const isV4 = layers[ip.ipAt] === 'ip';
  // Extension headers are layers of their own.
  let at = ip.ipAt + 1;
  while (layers[at]?.startsWith('ipv6.') || layers[at] === 'ah' || layers[at] === 'mip6') at++;
  let tunnel: string | undefined;
  let header = 20;
  if ((ip.protocol === 4 && layers[at] === 'ip') || (ip.protocol === 41 && layers[at] === 'ipv6')) {
    tunnel = ' ip-in-ip 0';
  } else if (ip.protocol === 47 && layers[at] === 'gre') {
    tunnel = ` gre ${Number(packet.first('gre.key') ?? 0)}`;
    header += 4;
    at++;
    if (layers[at] === 'ppp') return { is: 'out', rule: 'PPP in GRE' };
  } else if (ip.protocol === 17 && layers[at] === 'udp') {
    const port = Number(packet.all('udp.dstport')[outside.udp]);
    const name = layers[at + 1];
    if (name === 'vxlan' && port === 4789) tunnel = ` vxlan ${Number(packet.first('vxlan.vni'))}`;
    if (name === 'geneve' && port === 6081) tunnel = ` geneve ${Number(packet.first('geneve.vni'))}`;
    header += 16;
    at += 2;
  }
  if (tunnel === undefined) return undefined;
  return look(packet, {
    layer: at,
    ipv4: outside.ipv4 + (isV4 ? 1 : 0),
    ipv6: outside.ipv6 + (isV4 ? 0 : 1),
    udp: outside.udp + (ip.protocol === 17 ? 1 : 0),
    wrappings: outside.wrappings + 1,
    tunnel,
    room: ip.length > 0 ? ip.length - header : outside.room - header,
    chain: ip.chain,
  });
}

function isSet(flag: string | undefined): boolean {
  return flag === '1' || flag === 'True';
}
