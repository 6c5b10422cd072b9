import assert from 'node:assert/strict';
import type { FlowRecord } from '../../../src/traffic/index.ts';
import { LINK } from '../../../src/traffic/link-types.ts';
import { concat, ethernet, FLAG, icmp, ipv4, ipv6, tcp, u16, u32, udp } from '../../support/packets.ts';
import { add, flowsOf, only, testMeters } from './feed.ts';
import type { MakeMeter } from './meter.ts';

const V4 = ipv4('10.0.0.1', '10.0.0.2', 17, udp(5000, 6000, 10));
const V6 = ipv6('2001:db8::1', '2001:db8::2', 17, udp(5000, 6000, 10));

function meterOne(make: MakeMeter, packet: Uint8Array, linkType: number, wireLength = packet.length) {
  const meter = make();
  meter.addSlice(packet, 0, packet.length, linkType, 0, wireLength);
  return { flows: meter.finish(), counters: meter.counters };
}

const tag = (type: number) => concat([0, 5], u16(type));
const label = (isBottom: boolean) => [0, 1, isBottom ? 0x41 : 0x40, 64];
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
  ['MPLS', LINK.ethernet, ethernet(0x8847, concat(label(false), label(true), V6))],
  ['MPLS in PPP', LINK.ppp, concat([0x02, 0x81], label(true), V4)],
  [
    'an Ethernet pseudowire',
    LINK.ethernet,
    ethernet(0x8847, concat(label(true), [0, 0, 0, 0], ethernet(0x0800, V4))),
  ],
];

testMeters('finds the same datagram in every carrier, and nothing else when it is cut anywhere', (make) => {
  for (const [name, linkType, packet] of CARRIERS) {
    const { flows } = meterOne(make, packet, linkType);
    const flow = only(flows);
    const isV6 = flow.sourceAddress.includes(':');
    assert.deepEqual(
      [flow.protocol, flow.sourcePort, flow.destinationPort, flow.forward.payloadBytes, flow.forward.bytes],
      [17, 5000, 6000, 10, isV6 ? 58 : 38],
      name,
    );
    assert.equal(flow.destinationAddress, isV6 ? '2001:db8::2' : '10.0.0.2');
    assert.equal(flow.tunnel, undefined);
    for (let length = 0; length < packet.length; length++) {
      for (const cut of meterOne(make, packet.subarray(0, length), linkType, packet.length).flows) {
        assert.equal(cut.sourcePort, 5000, `${name} cut to ${length}`);
      }
    }
  }
});

testMeters('counts bytes from the IP header: neither padding nor a snap length changes them', (make) => {
  const syn = ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.syn));
  const padded = concat(ethernet(0x0800, syn), new Uint8Array(6));
  assert.equal(only(meterOne(make, padded, LINK.ethernet).flows).forward.bytes, 40);
  const long = ethernet(0x0800, ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.ack, { payload: 1000 })));
  const cut = only(meterOne(make, long.subarray(0, 54), LINK.ethernet, long.length).flows);
  assert.deepEqual([cut.forward.bytes, cut.forward.payloadBytes], [1040, 1000]);
});

testMeters('takes the wire length where the IP length is zero', (make) => {
  const offloaded = ethernet(0x0800, ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 0 }));
  assert.equal(only(meterOne(make, offloaded, LINK.ethernet, 9014).flows).forward.bytes, 9000);
  const jumbo = ethernet(0x86dd, ipv6('::1', '::2', 17, udp(1, 2), 0));
  assert.equal(only(meterOne(make, jumbo, LINK.ethernet, 9014).flows).forward.bytes, 9000);
});

testMeters('skips IPv4 options and walks IPv6 extension headers', (make) => {
  const options = ipv4('1.1.1.1', '2.2.2.2', 17, udp(7, 8, 4), { options: 40 });
  const skipped = only(meterOne(make, options, LINK.raw).flows);
  assert.deepEqual([skipped.sourcePort, skipped.forward.bytes, skipped.forward.payloadBytes], [7, 72, 4]);
  const body = concat(
    [43, 0, 0, 0, 0, 0, 0, 0],
    [60, 1, ...new Uint8Array(14)],
    [44, 0, 0, 0, 0, 0, 0, 0],
    [51, 0, 0, 1, 0, 0, 0, 0],
    [6, 1, ...new Uint8Array(10)],
    tcp(1000, 2000, FLAG.syn, { payload: 3 }),
  );
  const walked = only(meterOne(make, ipv6('::1', '::2', 0, body), LINK.rawIp).flows);
  assert.deepEqual([walked.protocol, walked.destinationPort, walked.forward.payloadBytes], [6, 2000, 3]);
});

const [X, Y] = ['192.0.2.1', '192.0.2.2'];
const inUdp = (port: number, content: Uint8Array) =>
  ipv4(X, Y, 17, concat(u16(60_000), u16(port), u16(8 + content.length), [0, 0], content));
const TUNNELS: readonly (readonly [string, number, Uint8Array])[] = [
  ['ip-in-ip', 0, ipv4(X, Y, 4, V4)],
  ['ip-in-ip', 0, ipv4(X, Y, 41, V6)],
  ['ip-in-ip', 0, ipv6('::1', '::2', 4, V4)],
  ['gre', 0, ipv4(X, Y, 47, concat([0, 0, 8, 0], V4))],
  ['gre', 7, ipv4(X, Y, 47, concat([0x20, 0, 0x86, 0xdd], u32(7), V6))],
  ['gre', 9, ipv4(X, Y, 47, concat([0xb0, 0, 8, 0], u32(0), u32(9), u32(1), V4))],
  ['gre', 0, ipv4(X, Y, 47, concat([0, 0, 0x65, 0x58], ethernet(0x0800, V4)))],
  ['gre', 0, ipv4(X, Y, 47, concat([0, 0, 0x88, 0x47], label(true), V4))],
  ['vxlan', 5001, inUdp(4789, concat([8, 0, 0, 0], u32(5001 << 8), ethernet(0x86dd, V6)))],
  ['geneve', 42, inUdp(6081, concat([0, 0, 8, 0], u32(42 << 8), V4))],
  ['geneve', 43, inUdp(6081, concat([1, 0, 0x65, 0x58], u32(43 << 8), u32(0), ethernet(0x0800, V4)))],
  ['vxlan', 2, ipv4(X, Y, 4, inUdp(4789, concat([8, 0, 0, 0], u32(2 << 8), ethernet(0x0800, V4))))],
];

testMeters('opens tunnels, meters what is inside and names the innermost', (make) => {
  for (const [kind, id, packet] of TUNNELS) {
    const flow = only(meterOne(make, packet, LINK.raw).flows);
    assert.deepEqual(flow.tunnel, { kind, id });
    assert.deepEqual(
      [flow.sourcePort, flow.forward.bytes],
      [5000, flow.sourceAddress.includes(':') ? 58 : 38],
    );
  }
  const flows = flowsOf(make, [
    [0, V4],
    [1, TUNNELS[0]?.[2] ?? V4],
    [2, TUNNELS[3]?.[2] ?? V4],
  ]);
  assert.equal(flows.length, 3, 'flows of different tunnels are different flows');
});

testMeters('opens four wrappings, and meters by its outside what it cannot open', (make) => {
  let packet: Uint8Array = V4;
  for (let i = 0; i < 5; i++) packet = ipv4(X, Y, 4, packet);
  const deep = only(meterOne(make, packet, LINK.raw).flows);
  assert.deepEqual([deep.protocol, deep.forward.bytes], [4, 58]);
  const broken = meterOne(make, ipv4(X, Y, 4, V4.subarray(0, 12)), LINK.raw);
  assert.deepEqual(
    [only(broken.flows).protocol, broken.counters.malformed],
    [4, { 'inner-truncated-ipv4-header': 1 }],
  );
  const arp = inUdp(4789, concat([8, 0, 0, 0, 0, 0, 1, 0], ethernet(0x0806, new Uint8Array(28))));
  const foreign = meterOne(make, arp, LINK.raw);
  assert.deepEqual(
    [only(foreign.flows).destinationPort, foreign.counters.ignored],
    [4789, { 'inner-arp': 1 }],
  );
  const pptp = meterOne(make, ipv4(X, Y, 47, new Uint8Array([0x20, 1, 0x88, 0x0b, 0, 0, 0, 0])), LINK.raw);
  assert.deepEqual([only(pptp.flows).protocol, pptp.counters.ignored], [47, { 'inner-pptp': 1 }]);
  const plain = meterOne(make, inUdp(4789, new Uint8Array(30)), LINK.raw);
  assert.deepEqual([only(plain.flows).destinationPort, plain.counters.malformed], [4789, {}]);
});

const fragment = (id: number, offset: number, isMore: boolean, body: Uint8Array) => {
  const packet = ipv4('1.1.1.1', '2.2.2.2', 17, body, { fragment: (isMore ? 0x2000 : 0) | offset });
  packet.set(u16(id), 4);
  return packet;
};

testMeters('counts later fragments in the flow of the first, whichever flows are between', (make) => {
  const later6 = (offset: number, isMore: boolean, body: Uint8Array) =>
    ipv6('::1', '::2', 44, concat([17, 0, ...u16((offset << 3) | (isMore ? 1 : 0)), ...u32(77)], body));
  const flows = flowsOf(make, [
    [0, fragment(5, 0, true, udp(7, 8, 100))],
    [1, fragment(5, 14, true, new Uint8Array(40))],
    [2, later6(0, true, udp(70, 80, 8))],
    [3, fragment(5, 19, false, new Uint8Array(10))],
    [4, later6(2, false, new Uint8Array(24))],
  ]);
  assert.deepEqual(
    flows.map((flow) => [flow.sourcePort, flow.forward.packets, flow.forward.payloadBytes]),
    [
      [7, 3, 150],
      [70, 2, 32],
    ],
  );
});

testMeters(
  'counts fragments alone: unknown, late by 30 s, forgotten after 256, or of a flow that ended',
  (make) => {
    const meter = make({ idleTimeoutMs: 60_000 });
    add(meter, 0, fragment(1, 9, false, new Uint8Array(8)));
    add(meter, 0, fragment(2, 0, true, udp(7, 8, 8)));
    add(meter, 30_000, fragment(2, 9, false, new Uint8Array(8)));
    add(meter, 30_001, fragment(2, 9, false, new Uint8Array(8)));
    assert.equal(meter.counters.fragments, 2);
    for (let id = 10; id < 10 + 257; id++) add(meter, 31_000, fragment(id, 0, true, udp(7, 8, 8)));
    add(meter, 31_000, fragment(10, 9, false, new Uint8Array(8)));
    add(meter, 31_000, fragment(11, 9, false, new Uint8Array(8)));
    assert.equal(meter.counters.fragments, 3);
    const short = make({ idleTimeoutMs: 100 });
    add(short, 0, fragment(1, 0, true, udp(7, 8, 8)));
    add(short, 100, fragment(1, 9, false, new Uint8Array(8)));
    assert.deepEqual([only(short.finish()).forward.packets, short.counters.fragments], [1, 1]);
  },
);

const TCP_V4 = ipv4('1.1.1.1', '2.2.2.2', 6, tcp(1, 2, FLAG.syn));
const cut = (packet: Uint8Array, length: number) => packet.subarray(0, length);
const REFUSALS: readonly (readonly [string, Uint8Array, number, number?])[] = [
  ['truncated-ethernet-header', new Uint8Array(13), LINK.ethernet],
  ['truncated-vlan-tag', ethernet(0x8100, new Uint8Array(2)), LINK.ethernet],
  [
    'too-many-vlan-tags',
    ethernet(0x8100, concat(...Array.from({ length: 5 }, () => tag(0x8100)))),
    LINK.ethernet,
  ],
  ['truncated-pppoe-header', ethernet(0x8864, new Uint8Array(7)), LINK.ethernet],
  ['truncated-mpls-label', ethernet(0x8847, new Uint8Array(3)), LINK.ethernet],
  ['truncated-mpls-label', ethernet(0x8847, concat(label(true))), LINK.ethernet],
  [
    'too-many-mpls-labels',
    ethernet(0x8847, concat(...Array.from({ length: 9 }, () => label(false)))),
    LINK.ethernet,
  ],
  ['mpls', ethernet(0x8847, concat(label(true), [0x10, 0, 0, 0], V4)), LINK.ethernet],
  ['truncated-linux-cooked-header', new Uint8Array(15), LINK.linuxCooked],
  ['truncated-linux-cooked-header', new Uint8Array(19), LINK.linuxCooked2],
  ['truncated-loopback-header', new Uint8Array(3), LINK.null],
  ['truncated-ppp-header', new Uint8Array(1), LINK.ppp],
  ['truncated-hdlc-header', new Uint8Array(3), LINK.pppHdlc],
  ['truncated-hdlc-header', new Uint8Array(3), LINK.ciscoHdlc],
  ['empty-packet', new Uint8Array(0), LINK.raw],
  ['truncated-ipv4-header', cut(V4, 19), LINK.raw],
  ['truncated-ipv4-header', cut(ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { options: 40 }), 50), LINK.raw],
  ['invalid-ip-version', V6, LINK.ipv4],
  ['invalid-ip-version', concat(V4, V4), LINK.ipv6],
  ['invalid-ipv4-header-length', concat([0x44], V4.subarray(1)), LINK.raw],
  ['invalid-ipv4-total-length', ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 19 }), LINK.raw],
  ['truncated-ipv4-packet', ipv4('1.1.1.1', '2.2.2.2', 17, udp(1, 2), { totalLength: 1000 }), LINK.raw],
  ['truncated-ipv6-header', cut(V6, 39), LINK.raw],
  ['truncated-ipv6-packet', ipv6('::1', '::2', 17, udp(1, 2), 1000), LINK.raw],
  ['truncated-ipv6-extension-header', ipv6('::1', '::2', 0, new Uint8Array(7)), LINK.raw],
  ['truncated-ipv6-extension-header', ipv6('::1', '::2', 60, concat([17, 9], udp(1, 2))), LINK.raw],
  ['too-many-ipv6-extension-headers', ipv6('::1', '::2', 0, new Uint8Array(8 * 20)), LINK.raw],
  ['truncated-tcp-header', cut(TCP_V4, 33), LINK.raw, 40],
  ['truncated-tcp-header', ipv4('1.1.1.1', '2.2.2.2', 6, new Uint8Array(19)), LINK.raw],
  ['invalid-tcp-header-length', ipv4('1.1.1.1', '2.2.2.2', 6, new Uint8Array(20)), LINK.raw],
  ['truncated-udp-header', ipv4('1.1.1.1', '2.2.2.2', 17, new Uint8Array(7)), LINK.raw],
  ['truncated-icmp-header', ipv4('1.1.1.1', '2.2.2.2', 1, new Uint8Array(1)), LINK.raw],
  ['fragment-too-short', fragment(1, 0, true, new Uint8Array(7)), LINK.raw],
  ['fragment-too-short', ipv4('1.1.1.1', '2.2.2.2', 6, new Uint8Array(16), { fragment: 0x2000 }), LINK.raw],
  ['arp', ethernet(0x0806, new Uint8Array(28)), LINK.ethernet],
  ['ieee802.3', ethernet(38, new Uint8Array(38)), LINK.ethernet],
  ['other-ethertype', ethernet(0xbeef, new Uint8Array(38)), LINK.ethernet],
  ['other-loopback-family', concat(u32(7), V4), LINK.null],
  ['other-ppp-protocol', concat([0xc0, 0x21], V4), LINK.ppp],
  ['link-type-ieee802.11', new Uint8Array(60), 105],
  ['link-type-40000', new Uint8Array(60), 40_000],
];

testMeters('names every reason why a packet is in no flow', (make) => {
  for (const [reason, packet, linkType, wireLength] of REFUSALS) {
    const { flows, counters } = meterOne(make, packet, linkType, wireLength);
    assert.deepEqual(flows satisfies FlowRecord[], [], reason);
    assert.deepEqual({ ...counters.ignored, ...counters.malformed }, { [reason]: 1 });
  }
});

testMeters('reads ICMP type and code, and gives other protocols no ports', (make) => {
  const solicit = only(meterOne(make, ipv6('::1', '::2', 58, icmp(135, 0, 16)), LINK.raw).flows);
  assert.deepEqual([solicit.sourcePort, solicit.forward.payloadBytes], [135, 16]);
  const esp = only(meterOne(make, ipv4('1.1.1.1', '2.2.2.2', 50, new Uint8Array(30)), LINK.raw).flows);
  assert.deepEqual([esp.sourcePort, esp.destinationPort, esp.forward.payloadBytes], [0, 0, 30]);
});
