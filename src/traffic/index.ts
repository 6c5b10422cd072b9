export { parseAddress } from './address.ts';
export { CSV_DEFAULTS, type CsvOptions, readCsvRows } from './csv.ts';
export { TRAFFIC_ERRORS, TrafficError, type TrafficErrorCode } from './errors.ts';
export {
  CONNECTION_STATES,
  type ConnectionState,
  type DirectionCounts,
  END_REASONS,
  type EndReason,
  type FlowRecord,
  type FlowSource,
  type SourceCounters,
  type SourceKind,
  TCP_FLAGS,
} from './flow.ts';
export { FLOW_CSV_COLUMNS, type FlowCsvColumn, flowToCsvRow } from './flow-csv.ts';
export { FlowMeter, METER_DEFAULTS, type MeterOptions } from './flow-meter.ts';
export { openFlowSource } from './open-flow-source.ts';
export { PCAP_WRITER_DEFAULTS, PcapWriter, type PcapWriterOptions } from './pcap-writer.ts';
