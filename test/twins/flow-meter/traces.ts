import fc from 'fast-check';
import { LINK } from '../../../src/traffic/link-types.ts';
import { concat, ethernet, icmp, ipv4, ipv6, u16, u32 } from '../../support/packets.ts';
import type { MakeMeter, TwinOptions } from './meter.ts';
import { SideBySide } from './side-by-side.ts';

/** A packet as it is handed to a meter. */
export interface TracePacket {
  readonly bytes: Uint8Array;
  readonly linkType: number;
  readonly timeMs: number;
  readonly wireLength: number;
}

type Wrap = 'ip-in-ip' | 'gre' | 'gre-ethernet' | 'vxlan' | 'geneve' | 'geneve-ethernet' | 'pseudowire';
type Carrier = 'ethernet' | 'vlan' | 'qinq' | 'mpls' | 'pppoe' | 'raw' | 'sll' | 'sll2' | 'null' | 'ppp';
type Body = 'tcp' | 'udp' | 'icmp' | 'other' | 'dns' | 'tls';

interface PacketPlan {
  readonly step: number;
  readonly pair: number;
  readonly port: number;
  readonly isBack: boolean;
  readonly isV6: boolean;
  readonly body: Body;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: number;
  readonly noise: number;
  readonly wraps: readonly Wrap[];
  readonly carrier: Carrier;
  /** Neither, the first fragment or a later one, of datagram `fragmentId`. */
  readonly fragment: 'none' | 'first' | 'later';
  readonly fragmentId: number;
  /** Captured bytes that are missing at the end. */
  readonly cut: number;
  /** Added to the length that the innermost IP header claims. */
  readonly lie: number;
  /** Bits that are flipped in the finished packet, counted from its start and round again. */
  readonly flips: readonly number[];
}

const rarely = <T>(usual: T, weight: number, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });

const plan: fc.Arbitrary<PacketPlan> = fc.record({
  step: fc.oneof(
    { weight: 12, arbitrary: fc.nat(60) },
    { weight: 4, arbitrary: fc.nat(1_500) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(6_000, 31_000, 400_000, 1e13, -400, -20_000, -1e13, Number.NaN, 0.25),
    },
  ),
  pair: fc.nat(3),
  port: fc.nat(2),
  isBack: fc.boolean(),
  isV6: rarely(false, 3, fc.constant(true)),
  body: fc.constantFrom<Body>('tcp', 'tcp', 'tcp', 'udp', 'icmp', 'other', 'dns', 'tls'),
  flags: fc.oneof(fc.constantFrom(2, 18, 16, 24, 17, 4, 20, 16, 16), fc.nat(255)),
  sequence: fc.oneof(
    fc.nat(12).map((n) => n * 10),
    fc.constantFrom(0, 1, 0xffffffff, 0x7fffffff, 0xfffffff6),
  ),
  payload: fc.oneof(fc.constantFrom(0, 1, 10, 20), fc.nat(1_500)),
  noise: fc.nat(255),
  wraps: rarely<readonly Wrap[]>(
    [],
    5,
    fc.array(
      fc.constantFrom<Wrap>(
        'ip-in-ip',
        'gre',
        'gre-ethernet',
        'vxlan',
        'geneve',
        'geneve-ethernet',
        'pseudowire',
      ),
      { maxLength: 6 },
    ),
  ),
  carrier: rarely<Carrier>(
    'ethernet',
    2,
    fc.constantFrom('vlan', 'qinq', 'mpls', 'pppoe', 'raw', 'sll', 'sll2', 'null', 'ppp'),
  ),
  fragment: rarely<PacketPlan['fragment']>('none', 6, fc.constantFrom('first', 'later')),
  fragmentId: fc.nat(2),
  cut: rarely(0, 6, fc.nat(120)),
  lie: rarely(0, 12, fc.integer({ min: -60, max: 60 })),
  flips: rarely<readonly number[]>([], 6, fc.array(fc.nat(1023), { minLength: 1, maxLength: 4 })),
});

const options: fc.Arbitrary<Partial<TwinOptions>> = fc.record({
  idleTimeoutMs: fc.constantFrom(500, 3_000, 30_000),
  attemptTimeoutMs: fc.constantFrom(300, 5_000),
  activeTimeoutMs: fc.constantFrom(1_000, 20_000, 300_000, Number.POSITIVE_INFINITY),
  tcpLingerMs: fc.constantFrom(50, 2_000),
  splitAtTcpEnd: rarely(true, 4, fc.constant(false)),
  maxFlows: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(64, 129, 1_000)),
  idlePeriodMs: fc.constantFrom(20, 500, 5_000),
  payloadEntropy: fc.boolean(),
  maxNamedFlows: fc.oneof(fc.nat(3), fc.constant(65_536)),
});

export interface Trace {
  readonly packets: readonly PacketPlan[];
  readonly options: Partial<TwinOptions>;
}

/** Structured packets of every kind the meter knows, between few hosts, and the options to meter them with. */
export function traces(maxLength: number): fc.Arbitrary<Trace> {
  return fc.record({
    packets: fc.array(plan, { minLength: 1, maxLength, size: 'max' }),
    options,
  });
}

/** The packets of a plan; time begins at an ordinary date. */
export function* buildTrace(plans: readonly PacketPlan[]): Generator<TracePacket> {
  let time = 1.7e12;
  for (const planned of plans) {
    if (!Number.isNaN(planned.step)) time += planned.step;
    const { bytes, linkType } = carry(planned);
    for (const bit of planned.flips) {
      if (bytes.length > 0) bytes[(bit >>> 3) % bytes.length]! ^= 1 << (bit & 7);
    }
    const kept = Math.max(0, bytes.length - planned.cut);
    yield {
      bytes: bytes.subarray(0, kept),
      linkType,
      timeMs: Number.isNaN(planned.step) ? Number.NaN : time,
      wireLength: bytes.length,
    };
  }
}

function carry(planned: PacketPlan): { bytes: Uint8Array; linkType: number } {
  let packet = innermost(planned);
  let isV6 = planned.isV6;
  for (const wrap of planned.wraps) {
    packet = wrapIn(wrap, packet, isV6, planned);
    isV6 = false;
  }
  const type = isV6 ? 0x86dd : 0x0800;
  switch (planned.carrier) {
    case 'ethernet':
      return { bytes: ethernet(type, packet), linkType: LINK.ethernet };
    case 'vlan':
      return { bytes: ethernet(0x8100, concat([0, 7], u16(type), packet)), linkType: LINK.ethernet };
    case 'qinq':
      return {
        bytes: ethernet(0x88a8, concat([0, 7, 0x81, 0, 0, 9], u16(type), packet)),
        linkType: LINK.ethernet,
      };
    case 'mpls':
      return {
        bytes: ethernet(0x8847, concat([0, 1, 0x40, 9, 0, 1, 0x41, 9], packet)),
        linkType: LINK.ethernet,
      };
    case 'pppoe': {
      const ppp = concat([0x11, 0, 0, 1], u16(packet.length + 2), [0, isV6 ? 0x57 : 0x21], packet);
      return { bytes: ethernet(0x8864, ppp), linkType: LINK.ethernet };
    }
    case 'raw':
      return { bytes: packet, linkType: LINK.rawIp };
    case 'sll':
      return { bytes: concat(new Uint8Array(14), u16(type), packet), linkType: LINK.linuxCooked };
    case 'sll2':
      return { bytes: concat(u16(type), new Uint8Array(18), packet), linkType: LINK.linuxCooked2 };
    case 'null':
      return { bytes: concat(u32(isV6 ? 30 : 2, true), packet), linkType: LINK.null };
    case 'ppp':
      return { bytes: concat([0xff, 3, 0, isV6 ? 0x57 : 0x21], packet), linkType: LINK.ppp };
    default:
      return planned.carrier satisfies never;
  }
}

function innermost(planned: PacketPlan): Uint8Array {
  const { protocol, bytes } = transport(planned);
  const { isV6, pair, isBack, fragment, fragmentId, lie } = planned;
  const client = isV6 ? `2001:db8::${pair + 1}` : `10.0.0.${pair + 1}`;
  const server = isV6 ? '2001:db8::99' : '10.0.0.3';
  const [source, destination] = isBack ? [server, client] : [client, server];
  const offset = fragment === 'later' ? 8 : 0;
  if (isV6) {
    const next = protocol === 1 ? 58 : protocol;
    if (fragment === 'none') return ipv6(source, destination, next, bytes, Math.max(0, bytes.length + lie));
    const header = [next, 0, ...u16((offset << 3) | (fragment === 'first' ? 1 : 0)), ...u32(fragmentId)];
    return ipv6(source, destination, 44, concat(header, bytes), Math.max(0, bytes.length + 8 + lie));
  }
  const packet = ipv4(source, destination, protocol, bytes, {
    totalLength: Math.max(0, 20 + bytes.length + lie),
    fragment: fragment === 'first' ? 0x2000 : offset,
  });
  packet.set(u16(fragmentId), 4);
  return packet;
}

function transport(planned: PacketPlan): { protocol: number; bytes: Uint8Array } {
  const { body, port, isBack, flags, sequence, noise } = planned;
  const ports = (client: number, server: number) =>
    isBack ? [...u16(server), ...u16(client)] : [...u16(client), ...u16(server)];
  const payload = new Uint8Array(planned.payload).map((_, i) => (i * noise) & 255);
  const segment = (content: Uint8Array) => {
    const header = [...ports(40_000 + port, 443), ...u32(sequence), ...u32(sequence + 1), 0x50, flags];
    return concat(header, u16(noise * 250), [0, 0, 0, 0], content);
  };
  const datagram = (server: number, content: Uint8Array) =>
    concat(ports(50_000 + port, server), u16(8 + content.length), [0, 0], content);
  switch (body) {
    case 'tcp':
      return { protocol: 6, bytes: segment(payload) };
    case 'tls':
      return { protocol: 6, bytes: segment(clientHello(noise)) };
    case 'udp':
      return { protocol: 17, bytes: datagram(port === 0 ? 5_000 : 4_789, payload) };
    case 'dns':
      return { protocol: 17, bytes: datagram([53, 5353, 5355][port] ?? 53, dnsMessage(noise, isBack)) };
    case 'icmp': {
      const types = planned.isV6 ? [128, 129, 135, 136] : [8, 0, 13, 14, 3];
      return { protocol: 1, bytes: icmp(types[noise % types.length] ?? 8, noise & 1, planned.payload % 64) };
    }
    case 'other':
      return { protocol: [47, 50, 132, 4, 41][noise % 5] ?? 50, bytes: payload };
    default:
      return body satisfies never;
  }
}

function clientHello(noise: number): Uint8Array {
  const name = [...Buffer.from(`host${noise}.example`)];
  const sni = concat([0, 0], u16(name.length + 5), u16(name.length + 3), [0], u16(name.length), name);
  const extensions = concat(sni, [0, 43, 0, 3, 2, 3, 4], [0, 16, 0, 5, 0, 3, 2, 104, 50]);
  const body = concat(
    [3, 3],
    new Uint8Array(32),
    [0, 0, 4, 0x13, 1, 0x13, 2, 1, 0],
    u16(extensions.length),
    extensions,
  );
  return concat([0x16, 3, 1], u16(body.length + 4), [1, 0], u16(body.length), body);
}

function dnsMessage(noise: number, isAnswer: boolean): Uint8Array {
  const label = [...Buffer.from(`n${noise}`)];
  const head = [0, 1, isAnswer ? 0x81 : 1, isAnswer ? noise % 4 : 0, 0, 1, 0, isAnswer ? 1 : 0, 0, 0, 0, 0];
  const question = [label.length, ...label, 3, 99, 111, 109, 0, 0, 1, 0, 1];
  const answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, noise, 60, 0, 4, 1, 2, 3, 4];
  return concat(head, question, isAnswer ? answer : []);
}

function wrapIn(wrap: Wrap, packet: Uint8Array, isV6: boolean, planned: PacketPlan): Uint8Array {
  const type = isV6 ? 0x86dd : 0x0800;
  const id = planned.port;
  const [source, destination] = planned.isBack ? ['192.0.2.2', '192.0.2.1'] : ['192.0.2.1', '192.0.2.2'];
  const datagram = (port: number, content: Uint8Array) =>
    ipv4(source, destination, 17, concat(u16(61_000), u16(port), u16(8 + content.length), [0, 0], content));
  switch (wrap) {
    case 'ip-in-ip':
      return ipv4(source, destination, isV6 ? 41 : 4, packet);
    case 'gre': {
      const flags = id === 0 ? [0, 0] : id === 1 ? [0x20, 0] : [0xb0, 0];
      const fields = id === 0 ? [] : id === 1 ? u32(id) : [...u32(0), ...u32(id), ...u32(7)];
      return ipv4(source, destination, 47, concat(flags, u16(type), fields, packet));
    }
    case 'gre-ethernet':
      return ipv4(source, destination, 47, concat([0, 0, 0x65, 0x58], ethernet(type, packet)));
    case 'vxlan':
      return datagram(4789, concat([8, 0, 0, 0], u32(id << 8), ethernet(type, packet)));
    case 'geneve':
      return datagram(6081, concat([0, 0], u16(type), u32(id << 8), packet));
    case 'geneve-ethernet':
      return datagram(
        6081,
        concat([2, 0, 0x65, 0x58], u32(id << 8), new Uint8Array(8), ethernet(type, packet)),
      );
    case 'pseudowire': {
      const inside = concat([0, 1, 0x41, 9, 0, 0, 0, 0], ethernet(type, packet));
      return ipv4(source, destination, 47, concat([0, 0, 0x88, 0x47], inside));
    }
    default:
      return wrap satisfies never;
  }
}

/** Meters a trace by `make` and the twin; throws where they differ at any of many looks. */
export function meterTrace(make: MakeMeter, trace: Trace): SideBySide {
  const meters = new SideBySide(make, trace.options);
  for (const { bytes, linkType, timeMs, wireLength } of buildTrace(trace.packets)) {
    meters.add(bytes, linkType, timeMs, wireLength);
    if (meters.packets % 37 === 0) meters.check();
    if (meters.packets % 101 === 0) meters.advance(timeMs + 700);
  }
  meters.finish();
  return meters;
}
