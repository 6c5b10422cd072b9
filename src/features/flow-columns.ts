import { PROTOCOL_CLASSES, SERVICE_CLASSES, STATE_CLASSES } from './flow-classes.ts';

/**
 * Every value the flow extractor computes; a flow schema picks among them by name. The order is that of the
 * extractor's scratch row and no format: batches follow the schema's order.
 */
export const FLOW_COLUMNS = [
  'protocol',
  'service',
  'state',
  'duration',
  'forward_packets',
  'backward_packets',
  'forward_bytes',
  'backward_bytes',
  'forward_bytes_per_packet',
  'backward_bytes_per_packet',
  'forward_byte_share',
  'packet_rate',
  'byte_rate',
  'forward_payload',
  'backward_payload',
  'payload_share',
  'src_count_short',
  'src_count_long',
  'src_count_last',
  'src_span_last',
  'src_hosts_long',
  'src_hosts_last',
  'src_ports_last',
  'src_failed_share_long',
  'src_failed_share_last',
  'src_same_service_share_last',
  'src_same_service_hosts_last',
  'src_mean_bytes_last',
  'src_out_bytes_long',
  'src_in_bytes_long',
  'dst_count_short',
  'dst_count_long',
  'dst_count_last',
  'dst_span_last',
  'dst_sources_last',
  'dst_ports_last',
  'dst_failed_share_short',
  'dst_failed_share_last',
  'dst_same_service_share_last',
  'dst_mean_bytes_last',
  'dst_open_last',
  'pair_count_long',
  'pair_count_last',
  'pair_ports_long',
  'pair_ports_last',
  'pair_failed_share_last',
  'pair_out_bytes_long',
  'pair_in_bytes_long',
  'pair_out_bytes_last',
  'channel_count_short',
  'channel_count_long',
  'channel_count_last',
  'channel_open_last',
  'channel_interval_mean',
  'channel_interval_variation',
  'channel_bytes_variation',
  'channel_mean_duration',
  'channel_out_packets_long',
  'channel_out_bytes_per_packet_long',
  'channel_in_bytes_per_packet_long',
] as const;

export type FlowColumn = (typeof FLOW_COLUMNS)[number];

/** Closed lists of the three columns that are categories; a schema must hold the same. */
export const FLOW_CATEGORIES: Readonly<Partial<Record<string, readonly string[]>>> = {
  protocol: PROTOCOL_CLASSES,
  service: SERVICE_CLASSES,
  state: STATE_CLASSES,
};

/** Position of each column in the scratch row. */
export const FLOW_INDEX = Object.fromEntries(FLOW_COLUMNS.map((name, index) => [name, index])) as Readonly<
  Record<FlowColumn, number>
>;
