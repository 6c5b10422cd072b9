import { formatIpv4, formatIpv6, parseAddress } from './address.ts';
import {
  CONNECTION_STATES,
  END_REASONS,
  type FlowNames,
  type FlowRecord,
  type SourceKind,
  TUNNEL_KINDS,
  type Tunnel,
} from './flow.ts';
import { FLOW_NUMBER_INDEX, FLOW_NUMBERS, type FlowNumber, MEASURES, type Measure } from './flow-measures.ts';

/** Words of a flow's identity in `FlowBatch.identity`, `IDENTITY_WORDS` a row. */
export const IDENTITY = {
  /** Four words, most significant first; IPv4 uses the first, the others are 0. */
  source: 0,
  destination: 4,
  /** Source port << 16 | destination port; ICMP: type and code. */
  ports: 8,
  /** Tunnel kind (index into `TUNNEL_KINDS`) << 16 | IP version << 8 | protocol. */
  kind: 9,
  tunnelId: 10,
  /** Handshake (`HANDSHAKE`) << 16 | end reason << 8 | state, as indices into their lists. */
  outcome: 11,
} as const;

export const IDENTITY_WORDS = 12;

/** Whether the initiator proved its address, in `IDENTITY.outcome`. */
export const HANDSHAKE = { unseen: 0, seen: 1, unknown: 2 } as const;

/**
 * Flows as columns, the form in which they go from meters and readers to the extractor. Owned by whoever made it,
 * who may fill it anew after the next one was asked for: take records, or copy, what has to last.
 */
export class FlowBatch {
  readonly sourceKind: SourceKind;
  readonly capacity: number;
  /** uint32, row-major capacity x IDENTITY_WORDS. */
  readonly identity: Uint32Array;
  /** float64, one column of `capacity` values for each of `FLOW_NUMBERS`, in that order; NaN is not reported. */
  readonly numbers: Float64Array;
  /** Texts of rows that have any, by row. */
  readonly names: Map<number, FlowNames>;
  rows = 0;

  /** `memory` gives the arrays another home, such as a kernel's memory. */
  constructor(
    sourceKind: SourceKind,
    capacity: number,
    memory?: { readonly identity: Uint32Array; readonly numbers: Float64Array },
  ) {
    this.sourceKind = sourceKind;
    this.capacity = capacity;
    this.identity = memory?.identity ?? new Uint32Array(capacity * IDENTITY_WORDS);
    this.numbers = memory?.numbers ?? new Float64Array(capacity * FLOW_NUMBERS.length);
    this.names = new Map();
  }

  /** A batch that holds copies of `records`, which are all of `sourceKind`. */
  static from(records: readonly FlowRecord[], sourceKind: SourceKind): FlowBatch {
    const batch = new FlowBatch(sourceKind, records.length);
    for (const record of records) batch.append(record);
    return batch;
  }

  /** As `from`, for records of any kinds: a batch for each run of records of one kind, in order. */
  static runsOf(records: readonly FlowRecord[]): FlowBatch[] {
    const batches: FlowBatch[] = [];
    for (let from = 0, to = 0; from < records.length; from = to) {
      const { sourceKind } = records[from] as FlowRecord;
      while (to < records.length && records[to]?.sourceKind === sourceKind) to++;
      batches.push(FlowBatch.from(records.slice(from, to), sourceKind));
    }
    return batches;
  }

  /** One column as a view; shape: capacity. */
  column(name: FlowNumber): Float64Array {
    const at = FLOW_NUMBER_INDEX[name] * this.capacity;
    return this.numbers.subarray(at, at + this.capacity);
  }

  number(row: number, name: FlowNumber): number {
    return this.numbers[FLOW_NUMBER_INDEX[name] * this.capacity + row] as number;
  }

  clear(): void {
    this.rows = 0;
    this.names.clear();
  }

  /** Copies a record into the next row, of which there must be one. */
  append(record: FlowRecord): void {
    const row = this.rows++;
    this.#writeIdentity(row, record);
    const set = (name: FlowNumber, value: number) => {
      this.numbers[FLOW_NUMBER_INDEX[name] * this.capacity + row] = value;
    };
    set('start_ms', record.startMs);
    set('end_ms', record.endMs);
    for (const side of ['forward', 'backward'] as const) {
      const counts = record[side];
      set(`${side}_packets`, counts.packets);
      set(`${side}_bytes`, counts.bytes);
      set(`${side}_payload_bytes`, counts.payloadBytes);
      set(`${side}_tcp_flags`, counts.tcpFlags);
    }
    for (const name of MEASURES) set(name, record.measures?.[name] ?? Number.NaN);
    if (record.names !== undefined) this.names.set(row, record.names);
  }

  /** A row as a record of its own. */
  record(row: number): FlowRecord {
    const id = this.identity.subarray(row * IDENTITY_WORDS, (row + 1) * IDENTITY_WORDS) as Uint32Array;
    const [kind, outcome, ports] = [id[IDENTITY.kind]!, id[IDENTITY.outcome]!, id[IDENTITY.ports]!];
    const isV4 = ((kind >>> 8) & 255) === 4;
    const address = (at: number) =>
      isV4 ? formatIpv4(id[at]!) : formatIpv6(id[at]!, id[at + 1]!, id[at + 2]!, id[at + 3]!);
    const counts = (side: 'forward' | 'backward') => ({
      packets: this.number(row, `${side}_packets`),
      bytes: this.number(row, `${side}_bytes`),
      payloadBytes: this.number(row, `${side}_payload_bytes`),
      tcpFlags: this.number(row, `${side}_tcp_flags`),
    });
    const measures: Partial<Record<Measure, number>> = {};
    for (const name of MEASURES) {
      const value = this.number(row, name);
      if (!Number.isNaN(value)) measures[name] = value;
    }
    const handshake = (outcome >>> 16) & 255;
    const tunnel = TUNNEL_KINDS[kind >>> 16] as Tunnel['kind'] | 'none';
    const names = this.names.get(row);
    return {
      sourceKind: this.sourceKind,
      protocol: kind & 255,
      sourceAddress: address(IDENTITY.source),
      destinationAddress: address(IDENTITY.destination),
      sourcePort: ports >>> 16,
      destinationPort: ports & 0xffff,
      startMs: this.number(row, 'start_ms'),
      endMs: this.number(row, 'end_ms'),
      forward: counts('forward'),
      backward: counts('backward'),
      state: CONNECTION_STATES[outcome & 255]!,
      endReason: END_REASONS[(outcome >>> 8) & 255]!,
      ...(handshake !== HANDSHAKE.unknown && { handshakeSeen: handshake === HANDSHAKE.seen }),
      ...(Object.keys(measures).length > 0 && { measures }),
      ...(tunnel !== 'none' && { tunnel: { kind: tunnel, id: id[IDENTITY.tunnelId]! } }),
      ...(names !== undefined && { names }),
    };
  }

  /** Every row as a record of its own. */
  records(): FlowRecord[] {
    return Array.from({ length: this.rows }, (_, row) => this.record(row));
  }

  #writeIdentity(row: number, record: FlowRecord): void {
    const at = row * IDENTITY_WORDS;
    const source = parseAddress(record.sourceAddress);
    const destination = parseAddress(record.destinationAddress);
    for (let word = 0; word < 4; word++) {
      this.identity[at + IDENTITY.source + word] = source?.words[word] ?? 0;
      this.identity[at + IDENTITY.destination + word] = destination?.words[word] ?? 0;
    }
    const tunnel = TUNNEL_KINDS.indexOf(record.tunnel?.kind ?? 'none');
    let handshake: number = HANDSHAKE.unknown;
    if (record.handshakeSeen !== undefined)
      handshake = record.handshakeSeen ? HANDSHAKE.seen : HANDSHAKE.unseen;
    this.identity[at + IDENTITY.ports] = (record.sourcePort << 16) | record.destinationPort;
    this.identity[at + IDENTITY.kind] = (tunnel << 16) | ((source?.version ?? 4) << 8) | record.protocol;
    this.identity[at + IDENTITY.tunnelId] = record.tunnel?.id ?? 0;
    this.identity[at + IDENTITY.outcome] =
      (handshake << 16) |
      (END_REASONS.indexOf(record.endReason) << 8) |
      CONNECTION_STATES.indexOf(record.state);
  }
}
