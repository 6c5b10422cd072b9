import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, ethernet, FLAG, icmp, ipv4, ipv6, tcp, u16, u32, udp } from '../../test/support/packets.ts';
import { LINK } from './link-types.ts';
import { PACKET, PacketParser } from './packet-parser.ts';

const V4 = ipv4('10.0.0.1', '10.0.0.2', 17, udp(5353, 53, 10));
const V6 = ipv6('2001:db8::1', '2001:db8::2', 17, udp(5353, 53, 10));

function parse(packet: Uint8Array, linkType: number = LINK.ethernet, wireLength = packet.length) {
  const parser = new PacketParser();
  const result = parser.parse(packet, 0, packet.length, linkType, wireLength);
  return { parser, result };
}

function refusal(packet: Uint8Array, linkType: number = LINK.ethernet, wireLength = packet.length): string {
  const { parser, result } = parse(packet, linkType, wireLength);
  assert.ok(result === PACKET.malformed || result === PACKET.ignored, `expected a refusal, got ${result}`);
  return parser.reason;
}

const tag = (type: number) => concat([0, 5], u16(type));
const CARRIERS: readonly (readonly [string, number, Uint8Array])[] = [
  ['Ethernet, IPv4', LINK.ethernet, ethernet(0x0800, V4)],
  ['Ethernet, IPv6', LINK.ethernet, ethernet(0x86dd, V6)],
  ['a VLAN tag', LINK.ethernet, ethernet(0x8100, concat(tag(0x0800), V4))],
  ['QinQ', LINK.ethernet, ethernet(0x88a8, concat(tag(0x8100), tag(0x86dd), V6))],
  ['Linux cooked', LINK.linuxCooked, concat(new Uint8Array(14), u16(0x0800), V4)],
  ['Linux cooked v2', LINK.linuxCooked2, concat(u16(0x86dd), new Uint8Array(18), V6)],
  ['raw IP 12', LINK.raw, V4],
  ['raw IP 14', LINK.rawOpenBsd, V4],
  ['raw IP 101 with IPv6', LINK.rawIp, V6],
  ['raw IPv4', LINK.ipv4, V4],
  ['raw IPv6', LINK.ipv6, V6],
  ['null, little endian', LINK.null, concat(u32(2, true), V4)],
  ['null, big endian', LINK.null, concat(u32(2), V4)],
  ['null, IPv6 of macOS', LINK.null, concat(u32(30, true), V6)],
  ['OpenBSD loopback', LINK.loop, concat(u32(24), V6)],
  ['PPP', LINK.ppp, concat([0xff, 3, 0, 0x21], V4)],
  ['PPP with a compressed protocol', LINK.ppp, concat([0x57], V6)],
  ['PPP in HDLC', LINK.pppHdlc, concat([0xff, 3, 0, 0x57], V6)],
  ['Cisco HDLC in PPP', LINK.pppHdlc, concat([0x0f, 0, 8, 0], V4)],
  ['Cisco HDLC', LINK.ciscoHdlc, concat([0x0f, 0, 8, 0], V4)],
  ['PPPoE', LINK.ethernet, ethernet(0x8864, concat([0x11, 0, 0, 1, 0, 40, 0, 0x21], V4))],
];

for (const [name, linkType, packet] of CARRIERS) {
  test(`finds the same datagram in ${name}`, () => {
    const { parser, result } = parse(packet, linkType);
    assert.equal(result, PACKET.flow);
    const isV6 = parser.version === 6;
    assert.deepEqual(
      [parser.protocol, parser.sourcePort, parser.destinationPort, parser.payloadBytes, parser.ipBytes],
      [17, 5353, 53, 10, isV6 ? 58 : 38],
    );
    assert.equal(parser.source0, isV6 ? 0x20010db8 : 0x0a000001);
    assert.equal(isV6 ? parser.destination3 : parser.destination0, isV6 ? 2 : 0x0a000002);
  });
}

test('reads a packet at an offset of a larger buffer', () => {
  const parser = new PacketParser();
  const packet = ethernet(0x0800, V4);
  const buffer = concat(new Uint8Array(100).fill(7), packet, new Uint8Array(50).fill(7));
  assert.equal(parser.parse(buffer, 100, 100 + packet.length, 1, packet.length), PACKET.flow);
  assert.equal(parser.sourcePort, 5353);
});

test('counts bytes from the IP header: neither padding nor a snap length changes them', () => {
  const padded = concat(
    ethernet(0x0800, ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.syn))),
    new Uint8Array(6),
  );
  assert.equal(parse(padded).parser.ipBytes, 40);
  assert.equal(parse(padded).parser.payloadBytes, 0);
  const long = ethernet(0x0800, ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.ack, { payload: 1000 })));
  const cut = parse(long.subarray(0, 54), LINK.ethernet, long.length);
  assert.deepEqual([cut.result, cut.parser.ipBytes, cut.parser.payloadBytes], [PACKET.flow, 1040, 1000]);
});

test('takes the wire length where the IP length is zero', () => {
  const offloaded = ethernet(0x0800, ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 0 }));
  assert.equal(parse(offloaded, LINK.ethernet, 9014).parser.ipBytes, 9000);
  const jumbo = ethernet(0x86dd, ipv6('::1', '::2', 17, udp(1, 2), 0));
  assert.equal(parse(jumbo, LINK.ethernet, 9014).parser.ipBytes, 9000);
});

test('skips IPv4 options', () => {
  const { parser } = parse(ipv4('1.1.1.1', '2.2.2.2', 17, udp(7, 8, 4), { options: 40 }), LINK.raw);
  assert.deepEqual([parser.sourcePort, parser.ipBytes, parser.payloadBytes], [7, 72, 4]);
});

test('walks IPv6 extension headers: hop-by-hop, routing, destination, fragment, AH', () => {
  const body = concat(
    [43, 0, 0, 0, 0, 0, 0, 0],
    [60, 1, ...new Uint8Array(14)],
    [44, 0, 0, 0, 0, 0, 0, 0],
    [51, 0, 0, 1, 0, 0, 0, 0],
    [6, 1, ...new Uint8Array(10)],
    tcp(1000, 2000, FLAG.syn, { payload: 3 }),
  );
  const { parser, result } = parse(ipv6('::1', '::2', 0, body), LINK.rawIp);
  assert.equal(result, PACKET.flow);
  assert.deepEqual([parser.protocol, parser.destinationPort, parser.payloadBytes], [6, 2000, 3]);
});

test('counts fragments after the first apart', () => {
  assert.equal(
    parse(ipv4('1.1.1.1', '2.2.2.2', 17, udp(7, 8), { fragment: 0x2000 }), LINK.raw).result,
    PACKET.flow,
  );
  assert.equal(
    parse(ipv4('1.1.1.1', '2.2.2.2', 17, udp(7, 8), { fragment: 100 }), LINK.raw).result,
    PACKET.fragment,
  );
  const later = concat([17, 0, ...u16(8 << 3), 0, 0, 0, 1], udp(7, 8));
  assert.equal(parse(ipv6('::1', '::2', 44, later), LINK.raw).result, PACKET.fragment);
});

test('reads ICMP type and code, and gives other protocols no ports', () => {
  const echo = parse(ipv4('1.1.1.1', '2.2.2.2', 1, icmp(8, 0, 56)), LINK.raw).parser;
  assert.deepEqual([echo.sourcePort, echo.destinationPort, echo.payloadBytes], [8, 0, 56]);
  const solicit = parse(ipv6('::1', '::2', 58, icmp(135, 0, 16)), LINK.raw).parser;
  assert.deepEqual([solicit.sourcePort, solicit.payloadBytes], [135, 16]);
  const gre = parse(ipv4('1.1.1.1', '2.2.2.2', 47, new Uint8Array(30).fill(9)), LINK.raw).parser;
  assert.deepEqual([gre.protocol, gre.sourcePort, gre.destinationPort, gre.payloadBytes], [47, 0, 0, 30]);
});

const TCP_V4 = ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.syn));
const EXTENSIONS = new Uint8Array(8 * 20);
const REFUSALS: readonly (readonly [string, Uint8Array, number, number?])[] = [
  ['truncated-ethernet-header', new Uint8Array(13), LINK.ethernet],
  ['truncated-vlan-tag', ethernet(0x8100, new Uint8Array(2)), LINK.ethernet],
  [
    'too-many-vlan-tags',
    ethernet(0x8100, concat(...Array.from({ length: 5 }, () => tag(0x8100)))),
    LINK.ethernet,
  ],
  ['truncated-pppoe-header', ethernet(0x8864, new Uint8Array(7)), LINK.ethernet],
  ['truncated-linux-cooked-header', new Uint8Array(15), LINK.linuxCooked],
  ['truncated-linux-cooked-header', new Uint8Array(19), LINK.linuxCooked2],
  ['truncated-loopback-header', new Uint8Array(3), LINK.null],
  ['truncated-ppp-header', new Uint8Array(1), LINK.ppp],
  ['truncated-hdlc-header', new Uint8Array(3), LINK.pppHdlc],
  ['truncated-hdlc-header', new Uint8Array(3), LINK.ciscoHdlc],
  ['empty-packet', new Uint8Array(0), LINK.raw],
  ['truncated-ipv4-header', V4.subarray(0, 19), LINK.raw],
  [
    'truncated-ipv4-header',
    ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { options: 40 }).subarray(0, 50),
    LINK.raw,
  ],
  ['invalid-ip-version', V6, LINK.ipv4],
  ['invalid-ip-version', concat(V4, V4), LINK.ipv6],
  ['invalid-ipv4-header-length', concat([0x44], V4.subarray(1)), LINK.raw],
  ['invalid-ipv4-total-length', ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 19 }), LINK.raw],
  ['truncated-ipv4-packet', ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 1000 }), LINK.raw],
  ['truncated-ipv6-header', V6.subarray(0, 39), LINK.raw],
  ['truncated-ipv6-packet', ipv6('::1', '::2', 17, udp(1, 2), 1000), LINK.raw],
  ['truncated-ipv6-extension-header', ipv6('::1', '::2', 0, new Uint8Array(7)), LINK.raw],
  ['truncated-ipv6-extension-header', ipv6('::1', '::2', 60, concat([17, 9], udp(1, 2))), LINK.raw],
  ['too-many-ipv6-extension-headers', ipv6('::1', '::2', 0, EXTENSIONS), LINK.raw],
  ['truncated-tcp-header', TCP_V4.subarray(0, 33), LINK.raw, 40],
  ['truncated-tcp-header', ipv4('1.1.1.1', '2.2.2.2', 6, new Uint8Array(19)), LINK.raw],
  ['invalid-tcp-header-length', ipv4('1.1.1.1', '2.2.2.2', 6, new Uint8Array(20)), LINK.raw],
  ['truncated-udp-header', ipv4('1.1.1.1', '2.2.2.2', 17, new Uint8Array(7)), LINK.raw],
  ['truncated-icmp-header', ipv4('1.1.1.1', '2.2.2.2', 1, new Uint8Array(1)), LINK.raw],
  ['arp', ethernet(0x0806, new Uint8Array(28)), LINK.ethernet],
  ['ieee802.3', ethernet(38, new Uint8Array(38)), LINK.ethernet],
  ['other-ethertype', ethernet(0xbeef, new Uint8Array(38)), LINK.ethernet],
  ['other-loopback-family', concat(u32(7), V4), LINK.null],
  ['other-ppp-protocol', concat([0xc0, 0x21], V4), LINK.ppp],
  ['link-type-ieee802.11', new Uint8Array(60), 105],
  ['link-type-40000', new Uint8Array(60), 40_000],
];

for (const [reason, packet, linkType, wireLength] of REFUSALS) {
  test(`counts ${reason} (link type ${linkType}, ${packet.length} bytes)`, () => {
    assert.equal(refusal(packet, linkType, wireLength ?? packet.length), reason);
  });
}

test('never reads outside a packet cut at any length, in any carrier', () => {
  for (const [, linkType, packet] of CARRIERS) {
    for (let length = 0; length < packet.length; length++) {
      const { result, parser } = parse(packet.subarray(0, length), linkType, packet.length);
      if (result === PACKET.flow) assert.equal(parser.sourcePort, 5353);
    }
  }
});

test('takes random bytes of any link type without throwing, and never a size beyond the wire', () => {
  const linkTypes = fc.oneof(fc.constantFrom(...Object.values(LINK)), fc.nat(65_535));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), linkTypes, fc.nat(200), (packet, linkType, extra) => {
      const { result, parser } = parse(packet, linkType, packet.length + extra);
      if (result !== PACKET.flow) return;
      assert.ok(parser.ipBytes >= 20 && parser.ipBytes <= packet.length + extra);
      assert.ok(parser.payloadBytes >= 0 && parser.payloadBytes < parser.ipBytes);
    }),
    { numRuns: 2000 },
  );
});
