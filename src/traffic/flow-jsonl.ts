import type { ByteSource } from './byte-source.ts';
import { countedFlow, countName, newCounters } from './counters.ts';
import type { FlowNames, FlowRecord, SourceCounters } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import { type FlowCsvColumn, flowFromCsv } from './flow-csv.ts';
import type { FlowSource } from './flow-source.ts';
import { textLines } from './text-lines.ts';
import { untilAborted } from './until-aborted.ts';

const MAX_NAME = 255;
const MAX_NAMES = 4;

type Json = Readonly<Record<string, unknown>>;

/** Whether a text that begins with `head` is flows as `guardian extract` writes them, one JSON object a line. */
export function isFlowJsonLines(head: string): boolean {
  return /^\s*\{\s*"flow"\s*:\s*\{/.test(head);
}

/**
 * Flows of JSON lines: `{"flow": FlowRecord, ...}`, whatever else a line holds. Lines that are no flow are counted:
 * `flow-invalid-json`, `line-too-long`, and as for a flow CSV `csv-invalid-address` and `csv-invalid-number`.
 */
export class FlowJsonSource implements FlowSource {
  /** Each batch tells its own: a flow keeps its meter through a file. */
  readonly kind = 'csv';
  readonly counters: SourceCounters;
  readonly #bytes: ByteSource;

  constructor(bytes: ByteSource, counters: SourceCounters = newCounters()) {
    this.#bytes = bytes;
    this.counters = counters;
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    const text = textLines(this.#bytes.chunks, (code) => countName(this.counters.malformed, code));
    for await (const lines of untilAborted(this.#bytes, text, signal)) {
      yield* FlowBatch.runsOf(lines.map((line) => this.#flow(line)).filter((flow) => flow !== undefined));
    }
  }

  #flow(line: string): FlowRecord | undefined {
    if (line.trim() === '') return undefined;
    return countedFlow(this.counters, flowFromJson(line));
  }
}

/** The flow of a line, or the code of what is wrong; the checks are those of a flow CSV. */
function flowFromJson(line: string): FlowRecord | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'flow-invalid-json';
  }
  const flow = objectOf(objectOf(value).flow);
  const [forward, backward] = [objectOf(flow.forward), objectOf(flow.backward)];
  const [measures, tunnel] = [objectOf(flow.measures), objectOf(flow.tunnel)];
  const cells: Partial<Record<FlowCsvColumn, unknown>> = {
    source_kind: flow.sourceKind,
    protocol: flow.protocol,
    source_address: flow.sourceAddress,
    source_port: flow.sourcePort,
    destination_address: flow.destinationAddress,
    destination_port: flow.destinationPort,
    start_ms: flow.startMs,
    end_ms: flow.endMs,
    forward_packets: forward.packets,
    forward_bytes: forward.bytes,
    forward_payload_bytes: forward.payloadBytes,
    forward_tcp_flags: forward.tcpFlags,
    backward_packets: backward.packets,
    backward_bytes: backward.bytes,
    backward_payload_bytes: backward.payloadBytes,
    backward_tcp_flags: backward.tcpFlags,
    state: flow.state,
    end_reason: flow.endReason,
    handshake_seen: flow.handshakeSeen,
    tunnel_kind: tunnel.kind,
    tunnel_id: tunnel.id,
  };
  const record = flowFromCsv((column) =>
    textOf(Object.hasOwn(cells, column) ? cells[column] : measures[column]),
  );
  if (typeof record === 'string') return record;
  const names = namesOf(objectOf(flow.names));
  return names === undefined ? record : { ...record, names };
}

function namesOf(value: Json): FlowNames | undefined {
  const { dns, sni, ja4 } = value;
  const isName = (text: unknown): text is string => typeof text === 'string' && text.length <= MAX_NAME;
  const names: FlowNames = {
    ...(Array.isArray(dns) && { dns: dns.filter(isName).slice(0, MAX_NAMES) }),
    ...(isName(sni) && { sni }),
    ...(isName(ja4) && { ja4 }),
  };
  return Object.keys(names).length === 0 ? undefined : names;
}

function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

/** A scalar as the cell of a CSV; what is no scalar is no value. */
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined;
}
