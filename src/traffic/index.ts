export { parseAddress } from './address.ts';
export { type CollectOptions, collectFlows } from './collect-flows.ts';
export { CSV_DEFAULTS, type CsvOptions, readCsvRows } from './csv.ts';
export { TRAFFIC_ERRORS, TrafficError, type TrafficErrorCode } from './errors.ts';
export {
  CONNECTION_STATES,
  type ConnectionState,
  type DirectionCounts,
  END_REASONS,
  type EndReason,
  type FlowNames,
  type FlowRecord,
  SOURCE_KINDS,
  type SourceCounters,
  type SourceKind,
  TCP_FLAGS,
  TUNNEL_KINDS,
  type Tunnel,
  type TunnelKind,
} from './flow.ts';
export { FlowBatch, HANDSHAKE, IDENTITY, IDENTITY_WORDS } from './flow-batch.ts';
export { FLOW_CSV_COLUMNS, type FlowCsvColumn, flowToCsvRow } from './flow-csv.ts';
export {
  DIRECTION_MEASURES,
  FLOW_MEASURES,
  FLOW_NUMBER_INDEX,
  FLOW_NUMBERS,
  type FlowNumber,
  MEASURES,
  type Measure,
} from './flow-measures.ts';
export type { FlowSource } from './flow-source.ts';
export { FOLLOW_DEFAULTS, FollowedFile, type FollowOptions } from './follow-file.ts';
export { CaptureRecord, RECORD_DEFAULTS, type RecordOptions } from './live/capture-record.ts';
export { interfaceNames } from './live/interfaces.ts';
export { LIVE_DEFAULTS, type LiveOptions } from './live/live-bytes.ts';
export { FlowMeter } from './meter/flow-meter.ts';
export { MAX_FLOWS_LIMIT, METER_DEFAULTS, type MeterOptions } from './meter/meter-options.ts';
export {
  COLLECTOR_DEFAULTS,
  type CollectorOptions,
  type ExporterReport,
  NetflowSource,
  openCollector,
} from './netflow/netflow-source.ts';
export { isSensorLog, openFlowSource, type SourceOptions } from './open-flow-source.ts';
export { FlowParquetWriter } from './parquet/flow-parquet-writer.ts';
export { ParquetFile, type ParquetFileOptions } from './parquet/parquet-file.ts';
export { isParquet, PARQUET_LIMITS, type ParquetCell, type ParquetLimits } from './parquet/parquet-limits.ts';
export { PCAP_WRITER_DEFAULTS, PcapWriter, type PcapWriterOptions } from './pcap-writer.ts';
export { textLines } from './text-lines.ts';
