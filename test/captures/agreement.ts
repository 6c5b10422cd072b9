import type { FlowRecord } from '../../src/traffic/index.ts';
import {
  flowKey,
  type IndependentFlow,
  type IndependentResult,
  type SeenPacket,
} from './independent-meter.ts';

/** Nothing splits a flow, so that each five-tuple is one. */
export const WHOLE = {
  idleTimeoutMs: Number.POSITIVE_INFINITY,
  attemptTimeoutMs: Number.POSITIVE_INFINITY,
  activeTimeoutMs: Number.POSITIVE_INFINITY,
  splitAtTcpEnd: false,
};

/** Two readings of a time to the microsecond, as doubles since 1970. */
const TIME_TOLERANCE_MS = 0.002;
const IDLE_PERIOD_MS = 5_000;

/** Why a packet is in no flow, or its bytes are not compared; a rule not named here fails the test. */
export const RULES: Readonly<Record<string, string>> = {
  'not IP': 'no IP layer: both leave it out',
  'IP inside a carrier that is not read':
    'frame relay, 802.11, GTP, ERSPAN and the like: tshark looks inside, we count it as ignored',
  'IP length beyond the wire':
    'the header claims more than was sent: tshark dissects on, a receiver drops it, we count it as malformed',
  'later fragment of a known datagram': 'both count it in the flow of the first fragment',
  'later fragment alone': 'its first fragment was not seen: we count it as fragment, in no flow',
  'broken IP header': 'tshark finds no addresses, we count it as malformed',
  'broken extension header': 'the IPv6 chain runs out of bytes, we count it as malformed',
  'more extension headers than we follow': 'we stop after 16 and count it as malformed',
  'broken transport header':
    'tshark finds no ports, or a TCP header below 20 bytes or beyond its packet; we count it as malformed',
  'IP length 0': 'segmentation offload or a jumbogram: tshark reports 0 bytes, we count the wire length',
  'inside a tunnel: not IP': 'what the tunnel carries is no IP: both meter the outside',
  'inside a tunnel: IP inside a carrier that is not read': 'both meter the outside',
  'inside a tunnel: IP length beyond the wire': 'the inside is malformed: we meter the outside',
  'inside a tunnel: broken IP header': 'the inside is malformed: we meter the outside',
  'inside a tunnel: broken transport header': 'the inside is malformed: we meter the outside',
  'inside a tunnel: broken extension header': 'the inside is malformed: we meter the outside',
  'inside a tunnel: PPP in GRE': 'PPTP and its like are not opened: we meter the outside',
};

const BIG_TCP =
  'BIG TCP, IP length 0: tshark 4.0 finds no packet inside, or no TCP header; we take the wire length';
const ROUTING =
  'the routing header runs out of captured bytes: tshark takes its next header, we count it as malformed';

/** Captures with flows that differ, each with the reason; all others agree in every flow. */
export const EXPLAINED: Readonly<Record<string, string>> = {
  'suricata-verify/bug-7414-decoder-event-01__ip_secopt.pcap':
    'tshark stops at a broken IP security option and sees no UDP header; the header length is right, so we go on',
  'suricata-verify/firewall__tcp-session-decode-malformed-ipv4__input.pcap':
    'tshark stops at a broken IP option and sees no TCP header; the header length is right, so we go on',
  'suricata-verify/detect-ipopts__input.pcap':
    'tshark takes the destination from a source route option, we from the header',
  'tcpdump/bigtcp-ipv4-geneve-ipv4.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv4-geneve-ipv6.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv4-vxlan-ipv4.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv4-vxlan-ipv6.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv6-geneve-ipv4.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv6-geneve-ipv6.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv6-vxlan-ipv4.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv6-vxlan-ipv6.pcap': BIG_TCP,
  'tcpdump/bigtcp-ipv6.pcap': BIG_TCP,
  'tcpdump/hoobr_rt6_print.pcap': ROUTING,
  'tcpdump/ipv6-rthdr-oobr.pcap': ROUTING,
  'tcpdump/icmp-icmp_print-oobr-1.pcap':
    'tshark finds the ICMP message malformed and gives no type; it has two bytes, so we do',
  'tcpdump/icmpv6-length-zero.pcapng':
    'IPv6 length 0 without offload: tshark sees no ICMPv6 message, we take the wire length',
  'tcpdump/ipv6_missing_jumbo_payload_option.pcap':
    'IPv6 length 0 without the jumbo option: tshark stops at the hop-by-hop header, we take the wire length',
  'tcpdump/wccp_redirect_gre.pcap': 'tshark opens WCCP redirection (GRE type 0x883e), we meter the outside',
};

/** The same where tshark reads the capture file itself. */
export const EXPLAINED_FILES: Readonly<Record<string, string>> = {
  ...EXPLAINED,
  'tcpdump/timestamp_invalid_micro.pcap':
    'a record says 2^31 microseconds beside its seconds: we add them, tshark cuts them',
};

/** The flows that differ: key and what differs. */
export function compareFlows(
  flows: readonly FlowRecord[],
  theirs: IndependentResult,
): (readonly [string, string])[] {
  const differences: (readonly [string, string])[] = [];
  const missing = new Set(theirs.flows.keys());
  for (const flow of flows) {
    const ends = [flow.sourceAddress, flow.destinationAddress] as const;
    const ports = [String(flow.sourcePort), String(flow.destinationPort)] as const;
    const tunnel = flow.tunnel === undefined ? '' : ` ${flow.tunnel.kind} ${flow.tunnel.id}`;
    const { key, from } = flowKey(flow.protocol, ends, ports, tunnel);
    const [a, b] = ends;
    const to = flowKey(flow.protocol, [b, a], [ports[1], ports[0]], tunnel).from;
    missing.delete(key);
    const twin = theirs.flows.get(key);
    if (twin === undefined) differences.push([key, 'not in tshark']);
    else differences.push(...compareFlow(flow, twin, { from, to }).map((text) => [key, text] as const));
  }
  for (const key of missing) differences.push([key, 'only in tshark']);
  return differences;
}

function compareFlow(
  flow: FlowRecord,
  twin: IndependentFlow,
  { from, to }: { from: string; to: string },
): string[] {
  const differences: string[] = [];
  const expect = (name: string, ours: number | undefined, theirs: number, tolerance = 0) => {
    if (ours === undefined || !(Math.abs(ours - theirs) <= tolerance)) {
      differences.push(`${name} ${ours}, tshark ${theirs}`);
    }
  };
  const time = (name: string, ours: number | undefined, theirs: number) =>
    expect(name, ours, theirs, TIME_TOLERANCE_MS + Math.abs(theirs) * 1e-9);
  const times = twin.packets.map((packet) => packet.timeMs);
  time('duration', flow.endMs - flow.startMs, largest(times) - smallest(times));
  const m = flow.measures ?? {};
  const periods = silences(times);
  expect('idle_count', m.idle_count, periods.idle.length);
  for (const [name, values] of [
    ['idle', periods.idle],
    ['active', periods.active],
  ] as const) {
    time(`${name}_min_ms`, m[`${name}_min_ms`], smallest(values));
    time(`${name}_max_ms`, m[`${name}_max_ms`], largest(values));
    time(`${name}_mean_ms`, m[`${name}_mean_ms`], mean(values));
  }
  // A flow from an endpoint to itself has one direction only.
  for (const side of from === to ? (['forward'] as const) : (['forward', 'backward'] as const)) {
    const sent = twin.packets.filter((packet) => packet.from === (side === 'forward' ? from : to));
    const lengths = sent.map((packet) => packet.length);
    const gaps = intervals(sent);
    const counts = flow[side];
    expect(`${side} packets`, counts.packets, sent.length);
    expect(
      `${side} flags`,
      counts.tcpFlags,
      sent.reduce((flags, packet) => flags | packet.tcpFlags, 0),
    );
    expect(`${side} window_max`, m[`${side}_window_max`], largest(sent.map((packet) => packet.window)));
    time(`${side} duration_ms`, m[`${side}_duration_ms`], between(sent.map((packet) => packet.timeMs)));
    time(`${side} iat_min_ms`, m[`${side}_iat_min_ms`], smallest(gaps));
    time(`${side} iat_max_ms`, m[`${side}_iat_max_ms`], largest(gaps));
    time(`${side} iat_mean_ms`, m[`${side}_iat_mean_ms`], mean(gaps));
    time(`${side} iat_std_ms`, m[`${side}_iat_std_ms`], deviation(gaps));
    if (twin.hasUnknownLength) continue;
    expect(
      `${side} bytes`,
      counts.bytes,
      lengths.reduce((sum, length) => sum + length, 0),
    );
    expect(`${side} length_min`, m[`${side}_length_min`], smallest(lengths));
    expect(`${side} length_max`, m[`${side}_length_max`], largest(lengths));
    expect(`${side} length_mean`, m[`${side}_length_mean`], mean(lengths), 1e-6);
    expect(`${side} length_std`, m[`${side}_length_std`], deviation(lengths), 1e-6);
  }
  return differences;
}

/** Active periods and the silences between them. */
function silences(times: readonly number[]): { active: number[]; idle: number[] } {
  const active: number[] = [];
  const idle: number[] = [];
  let began = times[0] ?? 0;
  for (const [i, at] of times.entries()) {
    const before = times[i - 1] ?? at;
    if (at - before <= IDLE_PERIOD_MS) continue;
    idle.push(at - before);
    active.push(Math.max(0, before - began));
    began = at;
  }
  return { active: [...active, Math.max(0, (times.at(-1) ?? 0) - began)], idle };
}

function intervals(packets: readonly SeenPacket[]): number[] {
  return packets.slice(1).map((packet, i) => Math.max(0, packet.timeMs - (packets[i]?.timeMs ?? 0)));
}

function between(times: readonly number[]): number {
  return Math.max(0, (times.at(-1) ?? 0) - (times[0] ?? 0));
}

function smallest(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => Math.min(a, b));
}

function largest(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => Math.max(a, b));
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of the sample, in two passes. */
function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}
