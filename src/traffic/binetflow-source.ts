import { parseAddress } from './address.ts';
import type { ByteSource } from './byte-source.ts';
import { countedFlow, countName, newCounters } from './counters.ts';
import { CSV_DEFAULTS, parseCsv } from './csv.ts';
import { addDirectionMeasures, type MeasureValues } from './derived-measures.ts';
import { TrafficError } from './errors.ts';
import { type DirectionCounts, type FlowRecord, type SourceCounters, TCP_FLAGS } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import type { FlowSource } from './flow-source.ts';
import { stateFromFlags } from './state-from-flags.ts';
import { untilAborted } from './until-aborted.ts';

/** Columns that are read, by the names `ra` of Argus gives them; the others may be there or not. */
const COLUMNS = [
  'StartTime',
  'Dur',
  'Proto',
  'SrcAddr',
  'Sport',
  'Dir',
  'DstAddr',
  'Dport',
  'State',
  'TotPkts',
  'TotBytes',
  'SrcBytes',
  'SrcPkts',
] as const;
type Column = (typeof COLUMNS)[number];
const REQUIRED = ['StartTime', 'Proto', 'SrcAddr', 'DstAddr'] as const satisfies readonly Column[];

const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: 6,
  udp: 17,
  icmp: 1,
  igmp: 2,
  'ipv6-icmp': 58,
  icmpv6: 58,
  gre: 47,
  esp: 50,
  sctp: 132,
  pim: 103,
  ipv6: 41,
  rtp: 17,
  rtcp: 17,
  udt: 17,
};

const FLAG_LETTERS: Readonly<Record<string, number>> = {
  F: TCP_FLAGS.fin,
  S: TCP_FLAGS.syn,
  R: TCP_FLAGS.rst,
  P: TCP_FLAGS.psh,
  A: TCP_FLAGS.ack,
  U: TCP_FLAGS.urg,
  E: TCP_FLAGS.ece,
  C: TCP_FLAGS.cwr,
};

/** Whether a text that begins with `head` is a table of Argus flows: its first line names their columns. */
export function isBinetflow(head: string): boolean {
  return /^\ufeff?StartTime[,\t](.*[,\t])?SrcAddr[,\t]/.test(head.split('\n', 1)[0] ?? '');
}

/**
 * Flows of a table that `ra` of Argus prints (binetflow): columns by the names of the header, commas or tabs between
 * them. Times are read as UTC, since the table names no zone. Bytes are those of whole frames as Argus counts them
 * (with Ethernet headers where the capture had them; the table does not say), so they stay as reported. Packets of
 * each direction are known only where the table has SrcPkts, else NaN. TCP state follows from the flags in State
 * (`SPA_SPA`), else from its word (REQ, CON, FIN, RST). Rows of what is no IP (arp, llc, man) are counted as
 * `argus-PROTOCOL` in `ignored`, faults as `argus-field-count`, `-invalid-time`, `-invalid-address`,
 * `-invalid-number`.
 */
export class BinetflowSource implements FlowSource {
  readonly kind = 'csv';
  readonly counters: SourceCounters;
  readonly #bytes: ByteSource;
  #columns: ReadonlyMap<Column, number> | undefined;
  #fieldCount = 0;

  constructor(bytes: ByteSource, counters: SourceCounters = newCounters()) {
    this.#bytes = bytes;
    this.counters = counters;
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    const firstLine = new TextDecoder().decode(this.#bytes.head).split('\n', 1)[0] ?? '';
    const delimiter = firstLine.includes('\t') ? '\t' : ',';
    const table = parseCsv(this.#bytes.chunks, { ...CSV_DEFAULTS, delimiter });
    try {
      for await (const rows of untilAborted(this.#bytes, table, signal)) {
        yield* FlowBatch.runsOf(rows.map((row) => this.#flow(row)).filter((flow) => flow !== undefined));
      }
    } catch (error) {
      if (!(error instanceof TrafficError && error.code === 'traffic.csv-malformed')) throw error;
      countName(this.counters.malformed, 'csv-broken-quotes');
    }
  }

  #flow(row: readonly string[]): FlowRecord | undefined {
    const columns = this.#columns;
    if (columns === undefined) {
      this.#readHeader(row);
      return undefined;
    }
    if (row.length !== this.#fieldCount) {
      countName(this.counters.malformed, 'argus-field-count');
      return undefined;
    }
    const cell = (column: Column) => (row[columns.get(column) ?? -1] ?? '').trim();
    const protocol = PROTOCOLS[cell('Proto').toLowerCase()];
    if (protocol === undefined) {
      const name = cell('Proto').toLowerCase();
      countName(this.counters.ignored, `argus-${/^[a-z0-9-]{1,16}$/.test(name) ? name : 'unnamed'}`);
      return undefined;
    }
    return countedFlow(this.counters, flowOf(cell, protocol));
  }

  #readHeader(row: readonly string[]): void {
    const names = row.map((name) => name.replace('\ufeff', '').trim());
    const missing = REQUIRED.find((column) => !names.includes(column));
    if (missing !== undefined) {
      throw new TrafficError('traffic.missing-column', `expected Argus flows with the column ${missing}`);
    }
    this.#fieldCount = names.length;
    this.#columns = new Map(COLUMNS.map((column) => [column, names.indexOf(column)]));
  }
}

function flowOf(cell: (column: Column) => string, protocol: number): FlowRecord | string {
  const source = parseAddress(cell('SrcAddr'));
  const destination = parseAddress(cell('DstAddr'));
  if (source === undefined || destination === undefined) return 'argus-invalid-address';
  const startMs = argusTime(cell('StartTime'));
  const durationMs = Number(cell('Dur')) * 1000;
  if (startMs === undefined || !(durationMs >= 0 && durationMs < 1e15)) return 'argus-invalid-time';
  const number = (column: Column) => (/^\d{1,15}$/.test(cell(column)) ? Number(cell(column)) : Number.NaN);
  const isPorted = protocol === 6 || protocol === 17 || protocol === 132;
  const sourcePort = isPorted ? portNumber(cell('Sport')) : 0;
  const destinationPort = isPorted ? portNumber(cell('Dport')) : 0;
  if (!(sourcePort <= 65_535 && destinationPort <= 65_535)) return 'argus-invalid-number';

  const [there, back] = flagsOf(cell('State'));
  const sides = splitCounts(number('TotPkts'), number('TotBytes'), number('SrcPkts'), number('SrcBytes'));
  if (sides === undefined) return 'argus-invalid-number';
  const isTcp = protocol === 6;
  const forward: DirectionCounts = { ...sides.forward, tcpFlags: isTcp ? there : 0 };
  const backward: DirectionCounts = { ...sides.backward, tcpFlags: isTcp ? back : 0 };
  const measures: MeasureValues = {};
  addDirectionMeasures(measures, 'forward', protocol, forward);
  addDirectionMeasures(measures, 'backward', protocol, backward);
  return {
    sourceKind: 'csv',
    protocol,
    sourceAddress: source.text,
    destinationAddress: destination.text,
    sourcePort,
    destinationPort,
    startMs,
    endMs: startMs + durationMs,
    forward,
    backward,
    state:
      isTcp && Number.isNaN(there) ? stateOfWord(cell('State')) : stateFromFlags(protocol, forward, backward),
    endReason: 'reported',
    ...(Object.keys(measures).length > 0 && { measures }),
  };
}

/** Both directions' counts; undefined where a part is larger than the whole. */
function splitCounts(packets: number, bytes: number, sourcePackets: number, sourceBytes: number) {
  if (sourceBytes > bytes || sourcePackets > packets) return undefined;
  const backBytes = bytes - sourceBytes;
  // Whether the other side spoke is known from its bytes, even where its packets are not counted apart.
  const isAlone = backBytes === 0;
  const known = isAlone ? packets : sourcePackets;
  const counts = (ofPackets: number, ofBytes: number) => ({
    packets: ofPackets,
    bytes: ofBytes,
    payloadBytes: Number.NaN,
  });
  return {
    forward: counts(known, sourceBytes),
    backward: isAlone ? { packets: 0, bytes: 0, payloadBytes: 0 } : counts(packets - known, backBytes),
  };
}

/** Flags of both sides from `SPA_SA`; NaN where State is a word. */
function flagsOf(state: string): readonly [number, number] {
  const sides = /^([FSRPAUEC]*)_([FSRPAUEC]*)$/.exec(state);
  if (sides === null) return [Number.NaN, Number.NaN];
  const flags = (letters: string) =>
    [...letters].reduce((all, letter) => all | (FLAG_LETTERS[letter] ?? 0), 0);
  return [flags(sides[1] ?? ''), flags(sides[2] ?? '')];
}

/** Argus' words for a TCP connection, where the table prints no flags; Zeek's own words are taken as they are. */
function stateOfWord(state: string): FlowRecord['state'] {
  if (state === 'REQ' || state === 'S0') return 'S0';
  if (state === 'CON') return 'S1';
  if (state === 'FIN' || state === 'CLO') return 'SF';
  return state === 'RST' ? 'RSTO' : 'OTH';
}

/** Ports are decimal, or hexadecimal with 0x as Argus prints those it has no name for. */
function portNumber(text: string): number {
  if (text === '') return 0;
  return /^(0x[0-9a-f]{1,4}|\d{1,5})$/i.test(text) ? Number(text) : Number.NaN;
}

function argusTime(text: string): number | undefined {
  const parts = /^(\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d):(\d\d)(\.\d{1,9})?$/.exec(text);
  if (parts === null) return undefined;
  const at = (i: number) => Number(parts[i]);
  const ms = Date.UTC(at(1), at(2) - 1, at(3), at(4), at(5), at(6));
  return Number.isNaN(ms) ? undefined : (ms * 1000 + Math.round(Number(`0${parts[7] ?? ''}`) * 1e6)) / 1000;
}
