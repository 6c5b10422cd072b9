import { LINK, linkTypeName } from './link-types.ts';

/** What became of a packet: metered, an IP fragment after the first, not IP, or broken. */
export const PACKET = { flow: 0, fragment: 1, ignored: 2, malformed: 3 } as const;

const MAX_VLAN_TAGS = 4;
/** RFC 8200 names six extension headers; a longer chain than this is an attack on parsers. */
const MAX_EXTENSION_HEADERS = 16;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;

const ETHERTYPE_NAMES: Readonly<Record<number, string>> = {
  2054: 'arp', // 0x0806
  32821: 'rarp', // 0x8035
  34525: 'ipv6',
  34827: 'ppp', // 0x880b
  34887: 'mpls', // 0x8847
  34888: 'mpls', // 0x8848
  34915: 'pppoe-discovery', // 0x8863
  34958: 'eapol', // 0x888e
  35020: 'lldp', // 0x88cc
  35045: 'macsec', // 0x88e5
  35063: 'ptp', // 0x88f7
};

/**
 * Reads one packet from link layer to transport header into its own fields; nothing is allocated. One parser is
 * reused for every packet, and its fields hold until the next `parse`. Sizes come from the IP headers, never from
 * the captured length, so that a snap length does not change a count. A packet that claims more than was on the
 * wire is malformed: its receiver drops it too.
 */
export class PacketParser {
  /** 4 or 6. */
  version = 0;
  protocol = 0;
  /** Source address as four words, most significant first; IPv4 uses the first, the others are 0. */
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** TCP, UDP: ports. ICMP: type and code. Others: 0. */
  sourcePort = 0;
  destinationPort = 0;
  /** IP bytes, headers included. */
  ipBytes = 0;
  payloadBytes = 0;
  tcpFlags = 0;
  tcpSequence = 0;
  tcpAcknowledgement = 0;
  /** Why the packet is ignored or malformed. */
  reason = '';

  #bytes: Uint8Array = new Uint8Array(0);
  /** End of the captured bytes. */
  #end = 0;
  /** End of the packet as it was on the wire, as an offset like `#end`; never before it. */
  #wireEnd = 0;

  /** Parses `bytes[offset, end)`; `wireLength` is the packet's length before any snap length. Returns a `PACKET`. */
  parse(bytes: Uint8Array, offset: number, end: number, linkType: number, wireLength: number): number {
    this.#bytes = bytes;
    this.#end = end;
    this.#wireEnd = Math.max(end, offset + wireLength);
    switch (linkType) {
      case LINK.ethernet:
        if (offset + 14 > end) return this.#malformed('truncated-ethernet-header');
        return this.#etherType(offset + 12);
      case LINK.linuxCooked:
        if (offset + 16 > end) return this.#malformed('truncated-linux-cooked-header');
        return this.#etherType(offset + 14);
      case LINK.linuxCooked2:
        if (offset + 20 > end) return this.#malformed('truncated-linux-cooked-header');
        return this.#etherPayload(this.#u16(offset), offset + 20);
      case LINK.raw:
      case LINK.rawOpenBsd:
      case LINK.rawIp:
        return this.#ip(offset);
      case LINK.ipv4:
        return this.#ipv4(offset);
      case LINK.ipv6:
        return this.#ipv6(offset);
      case LINK.null:
      case LINK.loop:
        return this.#loopback(offset);
      case LINK.ppp:
        return this.#ppp(offset);
      case LINK.pppHdlc:
        return this.#pppHdlc(offset);
      case LINK.ciscoHdlc:
        if (offset + 4 > end) return this.#malformed('truncated-hdlc-header');
        return this.#etherPayload(this.#u16(offset + 2), offset + 4);
      default:
        return this.#ignored(linkTypeName(linkType));
    }
  }

  /** The EtherType at `at`, VLAN tags (802.1Q, 802.1ad and older) skipped. The caller has checked `at + 2`. */
  #etherType(at: number): number {
    return this.#etherPayload(this.#u16(at), at + 2);
  }

  #etherPayload(firstType: number, offset: number): number {
    let type = firstType;
    let at = offset;
    for (let tags = 0; type === 0x8100 || type === 0x88a8 || type === 0x9100 || type === 0x9200; tags++) {
      if (tags === MAX_VLAN_TAGS) return this.#malformed('too-many-vlan-tags');
      if (at + 4 > this.#end) return this.#malformed('truncated-vlan-tag');
      type = this.#u16(at + 2);
      at += 4;
    }
    if (type === 0x0800) return this.#ipv4(at);
    if (type === 0x86dd) return this.#ipv6(at);
    if (type === 0x8864) {
      if (at + 8 > this.#end) return this.#malformed('truncated-pppoe-header');
      return this.#ppp(at + 6);
    }
    // Up to 1500 the field is a length (IEEE 802.3) and an LLC header follows: no IP in practice.
    return this.#ignored(type <= 1500 ? 'ieee802.3' : (ETHERTYPE_NAMES[type] ?? 'other-ethertype'));
  }

  /** BSD loopback: the address family in the byte order of the machine that captured. */
  #loopback(offset: number): number {
    if (offset + 4 > this.#end) return this.#malformed('truncated-loopback-header');
    const b = this.#bytes;
    const big = ((b[offset]! << 24) | (b[offset + 1]! << 16) | (b[offset + 2]! << 8) | b[offset + 3]!) >>> 0;
    const little =
      ((b[offset + 3]! << 24) | (b[offset + 2]! << 16) | (b[offset + 1]! << 8) | b[offset]!) >>> 0;
    const family = Math.min(big, little);
    if (family === 2) return this.#ipv4(offset + 4);
    // AF_INET6 is 10 on Linux, 23 on Windows, 24 on NetBSD, 28 on FreeBSD, 30 on macOS.
    if (family === 10 || family === 23 || family === 24 || family === 28 || family === 30) {
      return this.#ipv6(offset + 4);
    }
    return this.#ignored('other-loopback-family');
  }

  /** PPP (RFC 1661), with or without address and control bytes, with or without a compressed protocol field. */
  #ppp(offset: number): number {
    let at = offset;
    const b = this.#bytes;
    if (at + 2 <= this.#end && b[at] === 0xff && b[at + 1] === 0x03) at += 2;
    if (at + 2 > this.#end) return this.#malformed('truncated-ppp-header');
    let protocol = b[at]!;
    at++;
    if ((protocol & 1) === 0) {
      protocol = (protocol << 8) | b[at]!;
      at++;
    }
    if (protocol === 0x21) return this.#ipv4(at);
    if (protocol === 0x57) return this.#ipv6(at);
    return this.#ignored('other-ppp-protocol');
  }

  /** Link type 50: PPP in HDLC framing, or Cisco's framing, which starts with 0x0f or 0x8f. */
  #pppHdlc(offset: number): number {
    if (offset + 4 > this.#end) return this.#malformed('truncated-hdlc-header');
    const address = this.#bytes[offset];
    if (address === 0x0f || address === 0x8f) return this.#etherPayload(this.#u16(offset + 2), offset + 4);
    return this.#ppp(offset);
  }

  #ip(offset: number): number {
    if (offset >= this.#end) return this.#malformed('empty-packet');
    return this.#bytes[offset]! >>> 4 === 6 ? this.#ipv6(offset) : this.#ipv4(offset);
  }

  /** RFC 791. */
  #ipv4(offset: number): number {
    const b = this.#bytes;
    if (offset + 20 > this.#end) return this.#malformed('truncated-ipv4-header');
    if (b[offset]! >>> 4 !== 4) return this.#malformed('invalid-ip-version');
    const headerLength = (b[offset]! & 15) * 4;
    if (headerLength < 20) return this.#malformed('invalid-ipv4-header-length');
    if (offset + headerLength > this.#end) return this.#malformed('truncated-ipv4-header');
    let total = this.#u16(offset + 2);
    // Zero where the network card cuts the segments (TSO): the wire length is all there is.
    if (total === 0) total = this.#wireEnd - offset;
    if (total < headerLength) return this.#malformed('invalid-ipv4-total-length');
    if (offset + total > this.#wireEnd) return this.#malformed('truncated-ipv4-packet');
    if ((this.#u16(offset + 6) & 0x1fff) !== 0) return PACKET.fragment;
    this.version = 4;
    this.ipBytes = total;
    this.source0 = this.#u32(offset + 12);
    this.destination0 = this.#u32(offset + 16);
    this.source1 = this.source2 = this.source3 = 0;
    this.destination1 = this.destination2 = this.destination3 = 0;
    return this.#transport(b[offset + 9]!, offset + headerLength, offset + total);
  }

  /** RFC 8200, section 4: the fixed header and the chain of extension headers. */
  #ipv6(offset: number): number {
    const b = this.#bytes;
    if (offset + 40 > this.#end) return this.#malformed('truncated-ipv6-header');
    if (b[offset]! >>> 4 !== 6) return this.#malformed('invalid-ip-version');
    const payloadLength = this.#u16(offset + 4);
    // Zero for a jumbogram and where the network card cuts the segments.
    const ipEnd = payloadLength === 0 ? this.#wireEnd : offset + 40 + payloadLength;
    if (ipEnd > this.#wireEnd) return this.#malformed('truncated-ipv6-packet');
    let next = b[offset + 6]!;
    let at = offset + 40;
    for (let headers = 0; isExtensionHeader(next); headers++) {
      if (headers === MAX_EXTENSION_HEADERS) return this.#malformed('too-many-ipv6-extension-headers');
      if (at + 8 > this.#end || at + 8 > ipEnd) return this.#malformed('truncated-ipv6-extension-header');
      if (next === 44 && (this.#u16(at + 2) & 0xfff8) !== 0) return PACKET.fragment;
      // The length counts 8 bytes beyond the first 8; for AH (RFC 4302) 4 bytes beyond the first 8; a fragment
      // header has none.
      const length = next === 44 ? 8 : next === 51 ? (b[at + 1]! + 2) * 4 : (b[at + 1]! + 1) * 8;
      next = b[at]!;
      at += length;
    }
    if (at > ipEnd) return this.#malformed('truncated-ipv6-extension-header');
    this.version = 6;
    this.ipBytes = ipEnd - offset;
    this.source0 = this.#u32(offset + 8);
    this.source1 = this.#u32(offset + 12);
    this.source2 = this.#u32(offset + 16);
    this.source3 = this.#u32(offset + 20);
    this.destination0 = this.#u32(offset + 24);
    this.destination1 = this.#u32(offset + 28);
    this.destination2 = this.#u32(offset + 32);
    this.destination3 = this.#u32(offset + 36);
    return this.#transport(next, at, ipEnd);
  }

  /** The transport header at `at` of an IP packet that ends at `ipEnd`, which may lie behind the captured bytes. */
  #transport(protocol: number, at: number, ipEnd: number): number {
    const b = this.#bytes;
    const captured = Math.min(this.#end, ipEnd);
    this.protocol = protocol;
    this.tcpFlags = 0;
    if (protocol === TCP) {
      // Ports, sequence numbers and flags; the rest of the header may have been cut by the snap length.
      if (at + 14 > captured || at + 20 > ipEnd) return this.#malformed('truncated-tcp-header');
      const headerLength = (b[at + 12]! >>> 4) * 4;
      if (headerLength < 20 || at + headerLength > ipEnd) return this.#malformed('invalid-tcp-header-length');
      this.sourcePort = this.#u16(at);
      this.destinationPort = this.#u16(at + 2);
      this.tcpSequence = this.#u32(at + 4);
      this.tcpAcknowledgement = this.#u32(at + 8);
      this.tcpFlags = b[at + 13]!;
      this.payloadBytes = ipEnd - at - headerLength;
    } else if (protocol === UDP) {
      if (at + 4 > captured || at + 8 > ipEnd) return this.#malformed('truncated-udp-header');
      this.sourcePort = this.#u16(at);
      this.destinationPort = this.#u16(at + 2);
      this.payloadBytes = ipEnd - at - 8;
    } else if (protocol === (this.version === 4 ? ICMP : ICMPV6)) {
      if (at + 2 > captured) return this.#malformed('truncated-icmp-header');
      this.sourcePort = b[at]!;
      this.destinationPort = b[at + 1]!;
      this.payloadBytes = Math.max(0, ipEnd - at - 8);
    } else {
      this.sourcePort = 0;
      this.destinationPort = 0;
      this.payloadBytes = ipEnd - at;
    }
    return PACKET.flow;
  }

  #ignored(name: string): number {
    this.reason = name;
    return PACKET.ignored;
  }

  #malformed(code: string): number {
    this.reason = code;
    return PACKET.malformed;
  }

  #u16(at: number): number {
    return (this.#bytes[at]! << 8) | this.#bytes[at + 1]!;
  }

  #u32(at: number): number {
    const b = this.#bytes;
    return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
  }
}

/** Hop-by-hop, routing, fragment, AH, destination options, mobility, HIP, shim6. ESP (50) hides what follows. */
function isExtensionHeader(next: number): boolean {
  return (
    next === 0 ||
    next === 43 ||
    next === 44 ||
    next === 51 ||
    next === 60 ||
    next === 135 ||
    next === 139 ||
    next === 140
  );
}
