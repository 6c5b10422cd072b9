import type { Bytes, Milliseconds } from '../base/index.ts';
import type { Measure } from './flow-measures.ts';

/** Where a flow was measured: by our own meter, by Zeek, Suricata, an exporter, or by whoever wrote a flow table. */
export const SOURCE_KINDS = ['packets', 'zeek', 'csv', 'eve', 'netflow', 'ipfix'] as const;

export type SourceKind = (typeof SOURCE_KINDS)[number];

/** What a flow came wrapped in. MPLS labels and VLAN tags are no tunnel. */
export const TUNNEL_KINDS = ['none', 'ip-in-ip', 'gre', 'vxlan', 'geneve', 'teredo', 'other'] as const;

export type TunnelKind = (typeof TUNNEL_KINDS)[number];

/** The innermost wrapping of a flow; flows of different tunnels are different flows. */
export interface Tunnel {
  readonly kind: Exclude<TunnelKind, 'none'>;
  /** VNI of VXLAN and GENEVE, key of GRE, else 0. */
  readonly id: number;
}

/** Texts from the wire, hostile by nature: escape them in every output. */
export interface FlowNames {
  /** Names asked for over DNS, the first few different ones. */
  readonly dns?: readonly string[];
  /** TLS server name of the ClientHello. */
  readonly sni?: string;
  /** JA4 fingerprint of the TLS client. */
  readonly ja4?: string;
  /** Signature of the first alert that the source itself raised about the flow. No feature reads it. */
  readonly reportedAlert?: string;
}

/**
 * How a connection went, in Zeek's words (conn.log, field conn_state). TCP uses all of them; for every other
 * protocol S0 means that one side spoke and SF that both did.
 */
export type ConnectionState =
  | 'S0'
  | 'S1'
  | 'SF'
  | 'REJ'
  | 'S2'
  | 'S3'
  | 'RSTO'
  | 'RSTR'
  | 'RSTOS0'
  | 'RSTRH'
  | 'SH'
  | 'SHR'
  | 'OTH';

/** Every connection state, in a fixed order that categories can rest on. */
export const CONNECTION_STATES = [
  'S0',
  'S1',
  'SF',
  'REJ',
  'S2',
  'S3',
  'RSTO',
  'RSTR',
  'RSTOS0',
  'RSTRH',
  'SH',
  'SHR',
  'OTH',
] as const satisfies readonly ConnectionState[];

/** Why the meter closed a flow; 'reported' where another meter did and did not say why. */
export type EndReason = 'tcp-end' | 'idle' | 'active' | 'evicted' | 'end-of-source' | 'reported';

export const END_REASONS = [
  'tcp-end',
  'idle',
  'active',
  'evicted',
  'end-of-source',
  'reported',
] as const satisfies readonly EndReason[];

/** What one side sent. A count that the source does not report is NaN. */
export interface DirectionCounts {
  readonly packets: number;
  /** IP bytes, headers included, link layer and padding excluded. */
  readonly bytes: Bytes;
  /** Bytes above the TCP, UDP or ICMP header; above the IP header for other protocols. */
  readonly payloadBytes: Bytes;
  /** Bitwise OR of the TCP flags seen (see `TCP_FLAGS`); 0 for other protocols. */
  readonly tcpFlags: number;
}

/** One bidirectional flow, from its initiator (source) to its responder (destination). */
export interface FlowRecord {
  readonly sourceKind: SourceKind;
  /** IP protocol number: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6. */
  readonly protocol: number;
  /** Text in canonical form (RFC 5952 for IPv6). */
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  /** TCP, UDP: the port. ICMP, ICMPv6: the type of the first message. Others: 0. */
  readonly sourcePort: number;
  /** TCP, UDP: the port. ICMP, ICMPv6: the code of the first message. Others: 0. */
  readonly destinationPort: number;
  readonly startMs: Milliseconds;
  readonly endMs: Milliseconds;
  /** Sent by the initiator. */
  readonly forward: DirectionCounts;
  /** Sent by the responder. */
  readonly backward: DirectionCounts;
  readonly state: ConnectionState;
  readonly endReason: EndReason;
  /**
   * TCP: whether the initiator acknowledged the number in the responder's SYN+ACK, which a forged source address
   * cannot do. S1 alone does not say so: as in Zeek it begins at the SYN+ACK. Absent where the source cannot know.
   */
  readonly handshakeSeen?: boolean;
  /** What else was measured; what is absent was not reported. */
  readonly measures?: Readonly<Partial<Record<Measure, number>>>;
  readonly tunnel?: Tunnel;
  readonly names?: FlowNames;
}

/** Bits of `DirectionCounts.tcpFlags`, as in the header (RFC 9293, section 3.1). */
export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

/** What a source has read so far. Counters only grow. */
export interface SourceCounters {
  /** Packets read from the source, also those that were not metered. */
  packets: number;
  /** Bytes of those packets on the wire; for sources of flows, the IP bytes they report. */
  bytes: Bytes;
  /** Flows handed out. */
  flows: number;
  /** IP fragments after the first: counted here, part of no flow. */
  fragments: number;
  /** Flows ended early because the table was full. */
  evicted: number;
  /** What is well formed but not metered, by name: 'arp', 'link-type-ieee802.11'. */
  readonly ignored: Record<string, number>;
  /** What is broken, by stable code: 'truncated-ipv4-header'. */
  readonly malformed: Record<string, number>;
  /** What was cut to keep within a limit, by the limit's name: 'flows', 'names'. */
  readonly limits: Record<string, number>;
  /** What never reached us, or a recording, by where it was lost: packets 'kernel', 'interface', 'unread'; bytes 'record'; exports 'netflow-sequence', messages 'collector-queue', 'socket'. */
  readonly lost: Record<string, number>;
}
