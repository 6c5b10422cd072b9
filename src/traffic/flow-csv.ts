import { parseAddress } from './address.ts';
import {
  CONNECTION_STATES,
  type DirectionCounts,
  END_REASONS,
  type FlowRecord,
  SOURCE_KINDS,
  TUNNEL_KINDS,
} from './flow.ts';
import { FLOW_COUNTS, MEASURES, type Measure } from './flow-measures.ts';

/** Columns a flow CSV must have; counts, state, reason and kind may be missing. */
export const FLOW_CSV_REQUIRED = [
  'protocol',
  'source_address',
  'source_port',
  'destination_address',
  'destination_port',
  'start_ms',
  'end_ms',
] as const;

/**
 * Columns of a flow CSV, in the order they are written; a reader finds them by name. Times are milliseconds since
 * 1970, bytes count IP headers, flags are the OR of TCP flags as a number; an empty cell was not reported. Names from
 * the wire are no columns.
 */
export const FLOW_CSV_COLUMNS = [
  'source_kind',
  ...FLOW_CSV_REQUIRED,
  ...FLOW_COUNTS,
  'state',
  'end_reason',
  'handshake_seen',
  'tunnel_kind',
  'tunnel_id',
  ...MEASURES,
] as const;

export type FlowCsvColumn = (typeof FLOW_CSV_COLUMNS)[number];

/** The cells of a flow, in the order of `FLOW_CSV_COLUMNS`. None needs quoting. */
export function flowToCsvRow(flow: FlowRecord): string[] {
  return [
    flow.sourceKind,
    String(flow.protocol),
    flow.sourceAddress,
    String(flow.sourcePort),
    flow.destinationAddress,
    String(flow.destinationPort),
    String(flow.startMs),
    String(flow.endMs),
    ...countCells(flow.forward),
    ...countCells(flow.backward),
    flow.state,
    flow.endReason,
    flow.handshakeSeen === undefined ? '' : String(flow.handshakeSeen),
    flow.tunnel?.kind ?? '',
    flow.tunnel === undefined ? '' : String(flow.tunnel.id),
    ...MEASURES.map((name) => String(flow.measures?.[name] ?? '')),
  ];
}

/**
 * The flow of a row, or the stable code of what is wrong: `csv-invalid-address`, `csv-invalid-number`. `cell` gives
 * the text of a column, undefined where the column is missing. The kind is the one the row names, so that a flow
 * keeps its meter through a file; without one it is 'csv'.
 */
export function flowFromCsv(cell: (column: FlowCsvColumn) => string | undefined): FlowRecord | string {
  const source = parseAddress(cell('source_address') ?? '');
  const destination = parseAddress(cell('destination_address') ?? '');
  if (source === undefined || destination === undefined) return 'csv-invalid-address';
  const number = (column: FlowCsvColumn): number => {
    const text = cell(column);
    return text === undefined || text.trim() === '' ? Number.NaN : Number(text);
  };
  const protocol = number('protocol');
  const sourcePort = number('source_port');
  const destinationPort = number('destination_port');
  const startMs = number('start_ms');
  const endMs = number('end_ms');
  const counts = (side: 'forward' | 'backward'): DirectionCounts => ({
    packets: number(`${side}_packets`),
    bytes: number(`${side}_bytes`),
    payloadBytes: number(`${side}_payload_bytes`),
    tcpFlags: number(`${side}_tcp_flags`),
  });
  const forward = counts('forward');
  const backward = counts('backward');
  const isValid =
    isWhole(protocol, 255) &&
    isWhole(sourcePort, 65_535) &&
    isWhole(destinationPort, 65_535) &&
    Number.isFinite(startMs) &&
    Number.isFinite(endMs) &&
    startMs <= endMs &&
    [forward, backward].every(isCounts);
  const measures: Partial<Record<Measure, number>> = {};
  for (const name of MEASURES) {
    const text = cell(name);
    if (text === undefined || text === '') continue;
    const value = Number(text);
    if (!(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) return 'csv-invalid-number';
    measures[name] = value;
  }
  const tunnelKind = TUNNEL_KINDS.find((kind) => kind === cell('tunnel_kind')) ?? 'none';
  const tunnelId = Number(cell('tunnel_id') || 0);
  if (!isWhole(tunnelId, 0xffff_ffff)) return 'csv-invalid-number';
  if (!isValid) return 'csv-invalid-number';
  const answered = backward.packets > 0 ? 'SF' : 'S0';
  const handshake = cell('handshake_seen');
  return {
    sourceKind: SOURCE_KINDS.find((kind) => kind === cell('source_kind')) ?? 'csv',
    protocol,
    sourceAddress: source.text,
    destinationAddress: destination.text,
    sourcePort,
    destinationPort,
    startMs,
    endMs,
    forward,
    backward,
    state: CONNECTION_STATES.find((state) => state === cell('state')) ?? (protocol === 6 ? 'OTH' : answered),
    endReason: END_REASONS.find((reason) => reason === cell('end_reason')) ?? 'reported',
    ...(handshake === 'true' || handshake === 'false' ? { handshakeSeen: handshake === 'true' } : {}),
    ...(Object.keys(measures).length > 0 && { measures }),
    ...(tunnelKind !== 'none' && { tunnel: { kind: tunnelKind, id: tunnelId } }),
  };
}

function countCells(counts: DirectionCounts): string[] {
  return [counts.packets, counts.bytes, counts.payloadBytes, counts.tcpFlags].map((count) =>
    Number.isNaN(count) ? '' : String(count),
  );
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function isCounts(counts: DirectionCounts): boolean {
  const values = [counts.packets, counts.bytes, counts.payloadBytes];
  return (
    values.every((value) => Number.isNaN(value) || isWhole(value, Number.MAX_SAFE_INTEGER)) &&
    (Number.isNaN(counts.tcpFlags) || isWhole(counts.tcpFlags, 255))
  );
}
