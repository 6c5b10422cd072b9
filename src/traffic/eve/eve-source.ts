import type { Milliseconds } from '../../base/index.ts';
import type { ByteSource } from '../byte-source.ts';
import { countFlow, countName, newCounters } from '../counters.ts';
import type { FlowRecord, SourceCounters } from '../flow.ts';
import { FlowBatch } from '../flow-batch.ts';
import { FlowPairing } from '../flow-pairing.ts';
import type { FlowSource } from '../flow-source.ts';
import { dnsTypeNumber, ReportedNames } from '../reported-names.ts';
import { textLines } from '../text-lines.ts';
import { untilAborted } from '../until-aborted.ts';
import { eveFlow, eveNetflow, eveTime, type Json, objectOf, textOf } from './eve-event.ts';

export interface EveOptions {
  /** Flows whose DNS, TLS and alerts are remembered until their flow record comes. */
  readonly maxRemembered: number;
  /** How long they are, in the log's own time. */
  readonly rememberMs: Milliseconds;
}

export const EVE_DEFAULTS: EveOptions = { maxRemembered: 65_536, rememberMs: 86_400_000 };

/** Whether a text that begins with `head` is EVE: its first line names an event type, as every line does. */
export function isEve(head: string): boolean {
  return /^\s*\{[^\n]*"event_type"\s*:/.test(head);
}

interface Remembered {
  readonly names: ReportedNames;
  timeMs: Milliseconds;
}

/**
 * Flows of Suricata's EVE JSON lines, in the order of the log. `flow` records become flows; where a log has none but
 * `netflow` records, those of both directions are joined (`FlowPairing`), and once it has one its `netflow` records
 * are left out (`netflow-beside-flow`), since they tell of the same packets. `dns` and `tls` records give the flow of
 * their `flow_id` names and measures where they come before it, an `alert` its signature (`FlowNames.reportedAlert`),
 * which no feature reads. Other events are counted as `event-TYPE` in `counters.ignored`, alerts among them;
 * names that come too late or are too many as `names` in `counters.limits`. Lines that are no event:
 * `eve-invalid-json`, `eve-invalid-address`, `-port`, `-time`.
 */
export class EveSource implements FlowSource {
  readonly kind = 'eve';
  readonly counters: SourceCounters;
  readonly #bytes: ByteSource;
  readonly #options: EveOptions;
  /** By flow_id, the one heard of last at the end. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #pairing: FlowPairing;
  #hasFlowRecords = false;
  #nowMs: Milliseconds = 0;

  constructor(
    bytes: ByteSource,
    counters: SourceCounters = newCounters(),
    options: Partial<EveOptions> = {},
  ) {
    this.#bytes = bytes;
    this.counters = counters;
    this.#options = { ...EVE_DEFAULTS, ...options };
    this.#pairing = new FlowPairing({}, counters);
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    const text = textLines(this.#bytes.chunks, (code) => countName(this.counters.malformed, code));
    for await (const lines of untilAborted(this.#bytes, text, signal)) {
      const flows: FlowRecord[] = [];
      for (const line of lines) this.#read(line, flows);
      this.#pairing.advance(this.#nowMs);
      yield* this.#handOut([...flows, ...this.#pairing.drain()]);
    }
    yield* this.#handOut(this.#pairing.finish());
  }

  #handOut(flows: readonly FlowRecord[]): readonly FlowBatch[] {
    for (const flow of flows) countFlow(this.counters, flow);
    return FlowBatch.runsOf(flows);
  }

  #read(line: string, flows: FlowRecord[]): void {
    if (line.trim() === '') return;
    const event = parseEvent(line);
    const type = textOf(event?.event_type);
    if (event === undefined || type === undefined) {
      countName(this.counters.malformed, 'eve-invalid-json');
      return;
    }
    this.#nowMs = Math.max(this.#nowMs, eveTime(event.timestamp) ?? 0);
    if (type === 'flow') this.#flow(event, flows);
    else if (type === 'netflow') this.#netflow(event);
    else if (type === 'dns') readDns(objectOf(event.dns), this.#namesOf(event));
    else if (type === 'tls') {
      const { sni, ja4 } = objectOf(event.tls);
      this.#namesOf(event).tls(textOf(sni), textOf(ja4));
    } else {
      countName(this.counters.ignored, `event-${/^\w{1,32}$/.test(type) ? type : 'unnamed'}`);
      const signature = textOf(objectOf(event.alert).signature);
      if (type === 'alert' && signature !== undefined) this.#namesOf(event).alert(signature);
    }
  }

  #flow(event: Json, flows: FlowRecord[]): void {
    if (!this.#hasFlowRecords) {
      this.#hasFlowRecords = true;
      const dropped = this.#pairing.clear();
      if (dropped > 0) countName(this.counters.ignored, 'netflow-beside-flow', dropped);
    }
    const flow = eveFlow(event);
    if (typeof flow === 'string') {
      countName(this.counters.malformed, flow);
      return;
    }
    const id = flowId(event);
    const remembered = this.#remembered.get(id);
    this.#remembered.delete(id);
    if (remembered === undefined) {
      flows.push(flow);
      return;
    }
    const { names, measures } = remembered.names;
    flows.push({
      ...flow,
      measures: { ...flow.measures, ...measures },
      ...(names !== undefined && { names }),
    });
  }

  #netflow(event: Json): void {
    if (this.#hasFlowRecords) {
      countName(this.counters.ignored, 'netflow-beside-flow');
      return;
    }
    const flow = eveNetflow(event);
    if (typeof flow === 'string') countName(this.counters.malformed, flow);
    else this.#pairing.add(flow, flowId(event), this.#nowMs);
  }

  /** What is remembered of the flow of an event; the oldest is forgotten where there are too many. */
  #namesOf(event: Json): ReportedNames {
    const id = flowId(event);
    const known = this.#remembered.get(id);
    if (known !== undefined) {
      this.#remembered.delete(id);
      this.#remembered.set(id, known);
      known.timeMs = this.#nowMs;
      return known.names;
    }
    for (const [oldest, { timeMs }] of this.#remembered) {
      const isFull = this.#remembered.size >= this.#options.maxRemembered;
      if (!isFull && this.#nowMs - timeMs <= this.#options.rememberMs) break;
      this.#remembered.delete(oldest);
      countName(this.counters.limits, 'names');
    }
    const names = new ReportedNames();
    this.#remembered.set(id, { names, timeMs: this.#nowMs });
    return names;
  }
}

function parseEvent(line: string): Json | undefined {
  try {
    // A flow_id may pass 2^53: it is kept as the text it is.
    return objectOf(JSON.parse(line.replace(/"flow_id"\s*:\s*(\d{1,20})/, '"flow_id":"$1"')));
  } catch {
    return undefined;
  }
}

/** Characters of what tells flows apart: what is remembered by it must be bounded whatever a line holds. */
const MAX_ID = 256;

/** The flow's number, or its endpoints where the log has none. */
function flowId({ flow_id: id, src_ip, src_port, dest_ip, dest_port, proto }: Json): string {
  const text =
    typeof id === 'string' ? id : [src_ip, src_port, dest_ip, dest_port, proto].map(String).join(' ');
  // A copy: a slice would keep all of a long text in memory.
  return text.length <= MAX_ID ? text : Buffer.from(text.slice(0, MAX_ID)).toString();
}

/**
 * A DNS record of version 1 or 2 (one question or answer a record) or 3 (lists of questions and answers). In its
 * JSON `type` is `query` and `answer`, or `request` and `response`.
 */
function readDns(dns: Json, names: ReportedNames): void {
  const type = textOf(dns.type);
  const isQuery = type === 'query' || type === 'request';
  const listed = Array.isArray(dns.queries) ? dns.queries.map(objectOf) : [];
  if (isQuery) {
    const questions = listed.length > 0 ? listed : [dns];
    for (const { rrname, rrtype } of questions.slice(0, 16)) {
      names.query(textOf(rrname) ?? '', dnsTypeNumber(textOf(rrtype) ?? ''));
    }
  } else if (type === 'answer' || type === 'response') {
    const answers = Array.isArray(dns.answers) ? dns.answers.slice(0, 64).map(objectOf) : [];
    const ttls = answers.map(({ ttl }) => ttl).filter((ttl) => typeof ttl === 'number');
    const code = textOf(dns.rcode) ?? 'NOERROR';
    names.response(code !== 'NOERROR', answers.length, ttls.length > 0 ? Math.min(...ttls) : Number.NaN);
  }
}
