/**
 * What is measured of one direction of a flow, beyond its counts. Lengths are IP bytes of a packet, headers
 * included. Deviations are sample deviations (n - 1), 0 for a single observation. A direction without packets has
 * 0 everywhere.
 */
export const DIRECTION_MEASURES = [
  /** Packet lengths, bytes. */
  'length_min',
  'length_max',
  'length_mean',
  'length_std',
  /** From the direction's first packet to its last, ms. */
  'duration_ms',
  /** Times between packets of the direction, in order of arrival, ms; 0 where there are fewer than two packets. */
  'iat_min_ms',
  'iat_max_ms',
  'iat_mean_ms',
  'iat_std_ms',
  /** TCP segments that carry data, SYN or FIN, all of whose sequence numbers were seen before. */
  'retransmitted_packets',
  'retransmitted_bytes',
  /** TCP segments that fill the direction's latest gap in sequence numbers. */
  'out_of_order_packets',
  /** Largest TCP window as in the header, not scaled. */
  'window_max',
] as const;

/** What is measured of a flow's payloads. */
export const INSPECTED_MEASURES = [
  /** DNS messages over UDP (ports 53, 5353, 5355), at most the first 16 of a flow. */
  'dns_queries',
  'dns_responses',
  'dns_failures',
  'dns_answers',
  /** Type of the first question. */
  'dns_query_type',
  /** Smallest TTL of an answer, s. */
  'dns_ttl_min',
  /** Names asked for: longest (characters), most labels, largest Shannon entropy (bits per character). */
  'dns_name_length_max',
  'dns_labels_max',
  'dns_name_entropy_max',
  /** Characters of the TLS server name; 0 where a ClientHello had none; missing where none was seen. */
  'tls_name_length',
  'tls_name_entropy',
] as const;

/** What is measured of a whole flow. */
export const FLOW_MEASURES = [
  /** Packets by IP length: up to 128 bytes, 129 to 256, 257 to 512, 513 to 1024, 1025 to 1514; longer ones are the rest. */
  'packets_to_128',
  'packets_to_256',
  'packets_to_512',
  'packets_to_1024',
  'packets_to_1514',
  /** Periods in which packets followed each other within `idlePeriodMs`, ms; a lone packet is a period of 0. */
  'active_min_ms',
  'active_max_ms',
  'active_mean_ms',
  /** Silences longer than `idlePeriodMs` inside the flow, ms; 0 where there was none. */
  'idle_count',
  'idle_min_ms',
  'idle_max_ms',
  'idle_mean_ms',
  /** IP lengths of the first packets, negative from the responder, 0 where there were fewer. */
  'first_length_1',
  'first_length_2',
  'first_length_3',
  'first_length_4',
  'first_length_5',
  'first_length_6',
  'first_length_7',
  'first_length_8',
  /** Bits per byte of payload, mean over the first 16 packets with payload weighted by bytes; only where asked. */
  'payload_entropy',
  ...INSPECTED_MEASURES,
] as const;

/** Every measure of a flow, by name: both directions, then the whole. Missing (not reported) is NaN. */
export const MEASURES = [
  ...DIRECTION_MEASURES.map((name) => `forward_${name}` as const),
  ...DIRECTION_MEASURES.map((name) => `backward_${name}` as const),
  ...FLOW_MEASURES,
] as const;

export type Measure = (typeof MEASURES)[number];

/** Counts of both directions, by the names of columns. */
export const FLOW_COUNTS = [
  'forward_packets',
  'forward_bytes',
  'forward_payload_bytes',
  'forward_tcp_flags',
  'backward_packets',
  'backward_bytes',
  'backward_payload_bytes',
  'backward_tcp_flags',
] as const;

/** Number columns of a batch of flows: times (ms since 1970), counts of both directions, then the measures. */
export const FLOW_NUMBERS = ['start_ms', 'end_ms', ...FLOW_COUNTS, ...MEASURES] as const;

export type FlowNumber = (typeof FLOW_NUMBERS)[number];

/** Position of each number column. */
export const FLOW_NUMBER_INDEX = Object.fromEntries(
  FLOW_NUMBERS.map((name, index) => [name, index]),
) as Readonly<Record<FlowNumber, number>>;
