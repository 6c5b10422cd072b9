import type { Tunnel } from '../../../src/traffic/index.ts';
import { LINK, linkTypeName } from '../../../src/traffic/link-types.ts';

export interface TcpHeader {
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Undefined where the snap length cut it off. */
  readonly window: number | undefined;
}

/** Why the inside of a tunnel was not opened, for a packet that is metered by its outside. */
export interface Unopened {
  readonly table: 'ignored' | 'malformed';
  readonly name: string;
}

interface Network {
  readonly version: 4 | 6;
  /** Four words, most significant first; IPv4 uses the first. */
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly ipBytes: number;
  readonly tunnel: Tunnel | undefined;
}

/** A packet with a transport header; the first fragment of a datagram too. */
export interface Datagram extends Network {
  readonly is: 'datagram';
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payloadBytes: number;
  /** The captured payload is `bytes[payloadAt, payloadEnd)`. */
  readonly payloadAt: number;
  readonly payloadEnd: number;
  readonly tcp: TcpHeader | undefined;
  /** Identification of the datagram that this is the first fragment of. */
  readonly fragmentId: number | undefined;
  readonly unopened: Unopened | undefined;
}

export interface LaterFragment extends Network {
  readonly is: 'later-fragment';
  readonly fragmentProtocol: number;
  readonly fragmentId: number;
  /** All above the IP or fragment header. */
  readonly payloadBytes: number;
}

export type Packet =
  | Datagram
  | LaterFragment
  | { readonly is: 'ignored'; readonly name: string }
  | { readonly is: 'malformed'; readonly name: string };

/** What is known of the bytes around the header in hand. Ends are offsets into `view`. */
interface Frame {
  readonly view: DataView;
  /** End of the captured bytes. */
  readonly end: number;
  /** End of the packet as it was on the wire, never before `end`. */
  readonly wireEnd: number;
  /** Wrappings opened so far: tunnels and Ethernet pseudowires. */
  readonly nesting: number;
  readonly tunnel: Tunnel | undefined;
}

const MAX_NESTING = 4;
const MAX_VLAN_TAGS = 4;
const MAX_MPLS_LABELS = 8;
const MAX_EXTENSION_HEADERS = 16;
const VLAN_TYPES = [0x8100, 0x88a8, 0x9100, 0x9200];
const TRANSPARENT_ETHERNET = 0x6558;
/** Hop-by-hop, routing, fragment, AH, destination options, mobility, HIP, shim6. */
const EXTENSION_HEADERS = [0, 43, 44, 51, 60, 135, 139, 140];
const [IP_IN_IP, TCP, UDP, IPV6_IN_IP, FRAGMENT, GRE, AH] = [4, 6, 17, 41, 44, 47, 51];

const ETHERTYPE_NAMES: Readonly<Record<number, string>> = {
  2054: 'arp',
  32821: 'rarp',
  34827: 'ppp',
  34915: 'pppoe-discovery',
  34958: 'eapol',
  35020: 'lldp',
  35045: 'macsec',
  35063: 'ptp',
};

/** Reads `bytes[offset, end)` from link layer to transport header; `wireLength` is its length before any snap length. */
export function readPacket(
  bytes: Uint8Array,
  offset: number,
  end: number,
  linkType: number,
  wireLength: number,
): Packet {
  const frame: Frame = {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    end,
    wireEnd: Math.max(end, offset + wireLength),
    nesting: 0,
    tunnel: undefined,
  };
  const { view } = frame;
  const has = (length: number) => offset + length <= end;
  switch (linkType) {
    case LINK.ethernet:
      return readEthernet(frame, offset);
    case LINK.linuxCooked:
      if (!has(16)) return malformed('truncated-linux-cooked-header');
      return readEtherType(frame, view.getUint16(offset + 14), offset + 16);
    case LINK.linuxCooked2:
      if (!has(20)) return malformed('truncated-linux-cooked-header');
      return readEtherType(frame, view.getUint16(offset), offset + 20);
    case LINK.raw:
    case LINK.rawOpenBsd:
    case LINK.rawIp:
      if (!has(1)) return malformed('empty-packet');
      return view.getUint8(offset) >>> 4 === 6 ? readIpv6(frame, offset) : readIpv4(frame, offset);
    case LINK.ipv4:
      return readIpv4(frame, offset);
    case LINK.ipv6:
      return readIpv6(frame, offset);
    case LINK.null:
    case LINK.loop:
      return readLoopback(frame, offset);
    case LINK.ppp:
      return readPpp(frame, offset);
    case LINK.pppHdlc: {
      if (!has(4)) return malformed('truncated-hdlc-header');
      const address = view.getUint8(offset);
      if (address !== 0x0f && address !== 0x8f) return readPpp(frame, offset);
      return readEtherType(frame, view.getUint16(offset + 2), offset + 4);
    }
    case LINK.ciscoHdlc:
      if (!has(4)) return malformed('truncated-hdlc-header');
      return readEtherType(frame, view.getUint16(offset + 2), offset + 4);
    default:
      return ignored(linkTypeName(linkType));
  }
}

function readEthernet(frame: Frame, at: number): Packet {
  if (at + 14 > frame.end) return malformed('truncated-ethernet-header');
  return readEtherType(frame, frame.view.getUint16(at + 12), at + 14);
}

/** What follows an EtherType; its VLAN tags are skipped. */
function readEtherType(frame: Frame, firstType: number, offset: number): Packet {
  const { view, end } = frame;
  let type = firstType;
  let at = offset;
  for (let tags = 0; VLAN_TYPES.includes(type); tags++) {
    if (tags === MAX_VLAN_TAGS) return malformed('too-many-vlan-tags');
    if (at + 4 > end) return malformed('truncated-vlan-tag');
    type = view.getUint16(at + 2);
    at += 4;
  }
  if (type === 0x0800) return readIpv4(frame, at);
  if (type === 0x86dd) return readIpv6(frame, at);
  if (type === 0x8847 || type === 0x8848) return readMpls(frame, at);
  if (type === 0x8864) {
    if (at + 8 > end) return malformed('truncated-pppoe-header');
    return readPpp(frame, at + 6);
  }
  // Up to 1500 the field is a length (IEEE 802.3).
  return ignored(type <= 1500 ? 'ieee802.3' : (ETHERTYPE_NAMES[type] ?? 'other-ethertype'));
}

/** A label stack (RFC 3032), then what its first nibble says. */
function readMpls(frame: Frame, offset: number): Packet {
  const { view, end } = frame;
  let at = offset;
  for (let labels = 0, isBottom = false; !isBottom; labels++) {
    if (labels === MAX_MPLS_LABELS) return malformed('too-many-mpls-labels');
    if (at + 4 > end) return malformed('truncated-mpls-label');
    isBottom = (view.getUint8(at + 2) & 1) !== 0;
    at += 4;
  }
  if (at >= end) return malformed('truncated-mpls-label');
  const nibble = view.getUint8(at) >>> 4;
  if (nibble === 4) return readIpv4(frame, at);
  if (nibble === 6) return readIpv6(frame, at);
  const isPseudowire = at + 4 <= end && view.getUint32(at) === 0;
  if (!isPseudowire || frame.nesting === MAX_NESTING) return ignored('mpls');
  return readEthernet({ ...frame, nesting: frame.nesting + 1 }, at + 4);
}

/** BSD loopback: the address family in the byte order of the machine that captured. */
function readLoopback(frame: Frame, at: number): Packet {
  if (at + 4 > frame.end) return malformed('truncated-loopback-header');
  const family = Math.min(frame.view.getUint32(at), frame.view.getUint32(at, true));
  if (family === 2) return readIpv4(frame, at + 4);
  if ([10, 23, 24, 28, 30].includes(family)) return readIpv6(frame, at + 4);
  return ignored('other-loopback-family');
}

/** PPP (RFC 1661), with or without address and control bytes, with or without a compressed protocol field. */
function readPpp(frame: Frame, offset: number): Packet {
  const { view, end } = frame;
  let at = offset;
  if (at + 2 <= end && view.getUint16(at) === 0xff03) at += 2;
  if (at + 2 > end) return malformed('truncated-ppp-header');
  const isCompressed = (view.getUint8(at) & 1) !== 0;
  const protocol = isCompressed ? view.getUint8(at) : view.getUint16(at);
  at += isCompressed ? 1 : 2;
  if (protocol === 0x21) return readIpv4(frame, at);
  if (protocol === 0x57) return readIpv6(frame, at);
  if (protocol === 0x281 || protocol === 0x283) return readMpls(frame, at);
  return ignored('other-ppp-protocol');
}

/** RFC 791. */
function readIpv4(frame: Frame, at: number): Packet {
  const { view, end, wireEnd, tunnel } = frame;
  if (at + 20 > end) return malformed('truncated-ipv4-header');
  if (view.getUint8(at) >>> 4 !== 4) return malformed('invalid-ip-version');
  const headerLength = (view.getUint8(at) & 15) * 4;
  if (headerLength < 20) return malformed('invalid-ipv4-header-length');
  if (at + headerLength > end) return malformed('truncated-ipv4-header');
  // Zero where the network card cuts the segments (TSO): the wire length is all there is.
  const total = view.getUint16(at + 2) || wireEnd - at;
  if (total < headerLength) return malformed('invalid-ipv4-total-length');
  if (at + total > wireEnd) return malformed('truncated-ipv4-packet');
  const network: Network = {
    version: 4,
    source: [view.getUint32(at + 12), 0, 0, 0],
    destination: [view.getUint32(at + 16), 0, 0, 0],
    ipBytes: total,
    tunnel,
  };
  const protocol = view.getUint8(at + 9);
  const fragment = view.getUint16(at + 6);
  const id = view.getUint16(at + 4);
  if ((fragment & 0x1fff) !== 0) {
    const payloadBytes = total - headerLength;
    return { ...network, is: 'later-fragment', fragmentProtocol: protocol, fragmentId: id, payloadBytes };
  }
  const fragmentId = (fragment & 0x2000) !== 0 ? id : undefined;
  return readTransport(frame, network, { protocol, at: at + headerLength, ipEnd: at + total, fragmentId });
}

/** RFC 8200, section 4: the fixed header and the chain of extension headers. */
function readIpv6(frame: Frame, at: number): Packet {
  const { view, end, wireEnd, tunnel } = frame;
  if (at + 40 > end) return malformed('truncated-ipv6-header');
  if (view.getUint8(at) >>> 4 !== 6) return malformed('invalid-ip-version');
  const payloadLength = view.getUint16(at + 4);
  // Zero for a jumbogram and where the network card cuts the segments.
  const ipEnd = payloadLength === 0 ? wireEnd : at + 40 + payloadLength;
  if (ipEnd > wireEnd) return malformed('truncated-ipv6-packet');
  const words = (from: number) => [0, 4, 8, 12].map((word) => view.getUint32(from + word));
  const network: Network = {
    version: 6,
    source: words(at + 8),
    destination: words(at + 24),
    ipBytes: ipEnd - at,
    tunnel,
  };
  let protocol = view.getUint8(at + 6);
  let next = at + 40;
  let fragmentId: number | undefined;
  for (let headers = 0; EXTENSION_HEADERS.includes(protocol); headers++) {
    if (headers === MAX_EXTENSION_HEADERS) return malformed('too-many-ipv6-extension-headers');
    if (next + 8 > end || next + 8 > ipEnd) return malformed('truncated-ipv6-extension-header');
    if (protocol === FRAGMENT) {
      const offsetAndMore = view.getUint16(next + 2);
      const id = view.getUint32(next + 4);
      if ((offsetAndMore & 0xfff8) !== 0) {
        const payloadBytes = ipEnd - next - 8;
        return { ...network, is: 'later-fragment', fragmentProtocol: FRAGMENT, fragmentId: id, payloadBytes };
      }
      if ((offsetAndMore & 1) !== 0) fragmentId = id;
    }
    const units = view.getUint8(next + 1);
    // The length counts 8 bytes beyond the first 8; for AH (RFC 4302) 4 bytes beyond the first 8.
    const length = protocol === FRAGMENT ? 8 : protocol === AH ? (units + 2) * 4 : (units + 1) * 8;
    protocol = view.getUint8(next);
    next += length;
  }
  if (next > ipEnd) return malformed('truncated-ipv6-extension-header');
  return readTransport(frame, network, { protocol, at: next, ipEnd, fragmentId });
}

interface TransportPlace {
  readonly protocol: number;
  readonly at: number;
  /** End of the IP packet, which may lie behind the captured bytes. */
  readonly ipEnd: number;
  readonly fragmentId: number | undefined;
}

function readTransport(frame: Frame, network: Network, place: TransportPlace): Packet {
  const { view } = frame;
  const { protocol, at, ipEnd, fragmentId } = place;
  const captured = Math.min(frame.end, ipEnd);
  const isFragment = fragmentId !== undefined;
  let [sourcePort, destinationPort, headerLength] = [0, 0, 0];
  let tcp: TcpHeader | undefined;
  if (protocol === TCP) {
    if (isFragment && at + 20 > ipEnd) return malformed('fragment-too-short');
    if (at + 14 > captured || at + 20 > ipEnd) return malformed('truncated-tcp-header');
    headerLength = (view.getUint8(at + 12) >>> 4) * 4;
    if (isFragment && headerLength >= 20 && at + headerLength > ipEnd) return malformed('fragment-too-short');
    if (headerLength < 20 || at + headerLength > ipEnd) return malformed('invalid-tcp-header-length');
    tcp = {
      flags: view.getUint8(at + 13),
      sequence: view.getUint32(at + 4),
      acknowledgement: view.getUint32(at + 8),
      window: at + 16 <= captured ? view.getUint16(at + 14) : undefined,
    };
  } else if (protocol === UDP) {
    if (isFragment && at + 8 > ipEnd) return malformed('fragment-too-short');
    if (at + 4 > captured || at + 8 > ipEnd) return malformed('truncated-udp-header');
    headerLength = 8;
  }
  if (protocol === TCP || protocol === UDP) {
    sourcePort = view.getUint16(at);
    destinationPort = view.getUint16(at + 2);
  } else if (protocol === (network.version === 4 ? 1 : 58)) {
    if (isFragment && at + 2 > ipEnd) return malformed('fragment-too-short');
    if (at + 2 > captured) return malformed('truncated-icmp-header');
    sourcePort = view.getUint8(at);
    destinationPort = view.getUint8(at + 1);
    headerLength = 8;
  }
  let unopened: Unopened | undefined;
  if (!isFragment) {
    const inner = openTunnel({ ...frame, end: captured, wireEnd: ipEnd }, place, destinationPort);
    if (inner?.is === 'ignored' || inner?.is === 'malformed') {
      unopened = { table: inner.is, name: `inner-${inner.name}` };
    } else if (inner !== undefined) {
      return inner;
    }
  }
  const payloadAt = at + headerLength;
  return {
    ...network,
    is: 'datagram',
    protocol,
    sourcePort,
    destinationPort,
    payloadBytes: Math.max(0, ipEnd - payloadAt),
    payloadAt,
    payloadEnd: Math.max(payloadAt, captured),
    tcp,
    fragmentId,
    unopened,
  };
}

/** The packet inside a tunnel; undefined where this is none, or none that can be opened. */
function openTunnel(frame: Frame, place: TransportPlace, destinationPort: number): Packet | undefined {
  const { protocol, at } = place;
  // Named wherever it is met, and never opened.
  if (protocol === GRE && at + 4 <= frame.end && (frame.view.getUint8(at + 1) & 7) === 1)
    return ignored('pptp');
  if (frame.nesting === MAX_NESTING) return undefined;
  const inside = (tunnel: Tunnel): Frame => ({ ...frame, nesting: frame.nesting + 1, tunnel });
  if (protocol === IP_IN_IP) return readIpv4(inside({ kind: 'ip-in-ip', id: 0 }), at);
  if (protocol === IPV6_IN_IP) return readIpv6(inside({ kind: 'ip-in-ip', id: 0 }), at);
  if (protocol === GRE) return openGre(frame, at, inside);
  if (protocol === UDP && destinationPort === 4789) return openVxlan(frame, at + 8, inside);
  if (protocol === UDP && destinationPort === 6081) return openGeneve(frame, at + 8, inside);
  return undefined;
}

type Inside = (tunnel: Tunnel) => Frame;

/** RFC 2784 and 2890; checksums, keys and sequence numbers are skipped, source routes (RFC 1701) are not followed. */
function openGre({ view, end }: Frame, at: number, inside: Inside): Packet | undefined {
  if (at + 4 > end) return undefined;
  const flags = view.getUint16(at);
  const [hasChecksum, hasRoute, hasKey] = [0x8000, 0x4000, 0x2000].map((bit) => (flags & bit) !== 0);
  const version = flags & 7;
  if (version !== 0 || hasRoute) return undefined;
  const keyAt = at + (hasChecksum ? 8 : 4);
  const sequenceAt = keyAt + (hasKey ? 4 : 0);
  const next = sequenceAt + ((flags & 0x1000) !== 0 ? 4 : 0);
  if (next > end) return undefined;
  const frame = inside({ kind: 'gre', id: hasKey ? view.getUint32(keyAt) : 0 });
  return readInner(frame, view.getUint16(at + 2), next);
}

/** RFC 7348. */
function openVxlan({ view, end }: Frame, at: number, inside: Inside): Packet | undefined {
  if (at + 8 > end || (view.getUint8(at) & 8) === 0) return undefined;
  return readEthernet(inside({ kind: 'vxlan', id: view.getUint32(at + 4) >>> 8 }), at + 8);
}

/** RFC 8926; a control packet (O) is not for us. */
function openGeneve({ view, end }: Frame, at: number, inside: Inside): Packet | undefined {
  if (at + 8 > end) return undefined;
  const version = view.getUint8(at) >>> 6;
  const next = at + 8 + (view.getUint8(at) & 63) * 4;
  if (version !== 0 || (view.getUint8(at + 1) & 0x80) !== 0 || next > end) return undefined;
  const frame = inside({ kind: 'geneve', id: view.getUint32(at + 4) >>> 8 });
  return readInner(frame, view.getUint16(at + 2), next);
}

function readInner(frame: Frame, type: number, at: number): Packet {
  return type === TRANSPARENT_ETHERNET ? readEthernet(frame, at) : readEtherType(frame, type, at);
}

function ignored(name: string): Packet {
  return { is: 'ignored', name };
}

function malformed(name: string): Packet {
  return { is: 'malformed', name };
}
