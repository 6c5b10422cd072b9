import { readFile } from 'node:fs/promises';
import type { FlowRecord } from '../traffic/index.ts';
import type { Conversation } from './conversation.ts';
import { LabError } from './errors.ts';

interface Span {
  readonly label: string;
  readonly startMs: number;
  readonly endMs: number;
}

export const LABELS_HEADER = 'protocol,source,source_port,destination,destination_port,start_ms,end_ms,label';

/** One line of the labels file: five-tuple, first and last packet in milliseconds since 1970, label. */
export function labelLine(conversation: Conversation, originMs: number): string {
  const { protocol, client, server, clientPort, serverPort, firstUs, lastUs, label } = conversation;
  const start = (originMs + firstUs / 1000).toFixed(3);
  const end = (originMs + lastUs / 1000).toFixed(3);
  return `${protocol},${client.text},${clientPort},${server.text},${serverPort},${start},${end},${label}`;
}

/**
 * What each conversation was, joined to flows by five-tuple in either direction and by time. A meter may cut one
 * conversation into several flows or, after a reused port, see two in one: the label that overlaps most wins.
 */
export class LabLabels {
  readonly #spans = new Map<string, Span[]>();
  #size = 0;

  /** Conversations held. */
  get size(): number {
    return this.#size;
  }

  /** Takes a conversation that has ended; `originMs` is the capture's start. */
  addConversation(conversation: Conversation, originMs: number): void {
    const { protocol, client, server, clientPort, serverPort, firstUs, lastUs, label } = conversation;
    this.#add(keyOf(protocol, client.text, clientPort, server.text, serverPort), {
      label,
      startMs: originMs + firstUs / 1000,
      endMs: originMs + lastUs / 1000,
    });
  }

  /** Reads a labels file. Throws `lab.labels-malformed` with the number of the line. */
  static async read(path: string): Promise<LabLabels> {
    const labels = new LabLabels();
    const lines = (await readFile(path, 'utf8')).split('\n');
    lines.forEach((line, index) => {
      if (index === 0 || line === '') return;
      const [protocol, source, sourcePort, destination, destinationPort, start, end, label] = line.split(',');
      if (
        label === undefined ||
        source === undefined ||
        destination === undefined ||
        !(Number(start) <= Number(end))
      ) {
        throw new LabError('lab.labels-malformed', `line ${index + 1}: expected ${LABELS_HEADER}`);
      }
      const key = keyOf(Number(protocol), source, Number(sourcePort), destination, Number(destinationPort));
      labels.#add(key, { label, startMs: Number(start), endMs: Number(end) });
    });
    return labels;
  }

  /** `benign`, an attack kind, or undefined where the lab made no such flow. */
  find(flow: FlowRecord): string | undefined {
    const spans = this.#spans.get(
      keyOf(
        flow.protocol,
        flow.sourceAddress,
        flow.sourcePort,
        flow.destinationAddress,
        flow.destinationPort,
      ),
    );
    if (spans === undefined) return undefined;
    let best: Span | undefined;
    let bestOverlap = Number.NEGATIVE_INFINITY;
    for (const span of spans) {
      const overlap = Math.min(span.endMs, flow.endMs) - Math.max(span.startMs, flow.startMs);
      if (overlap > bestOverlap) {
        best = span;
        bestOverlap = overlap;
      }
    }
    return best?.label;
  }

  /** As `find`; a flow that the lab did not make is benign. */
  labelOf(flow: FlowRecord): string {
    return this.find(flow) ?? 'benign';
  }

  #add(key: string, span: Span): void {
    const spans = this.#spans.get(key);
    if (spans === undefined) this.#spans.set(key, [span]);
    else spans.push(span);
    this.#size++;
  }
}

/** The same for both directions. Protocols without ports are told apart by addresses and time alone. */
function keyOf(protocol: number, a: string, aPort: number, b: string, bPort: number): string {
  const hasPorts = protocol === 6 || protocol === 17;
  const from = hasPorts ? `${a} ${aPort}` : a;
  const to = hasPorts ? `${b} ${bPort}` : b;
  return from < to ? `${protocol} ${from} ${to}` : `${protocol} ${to} ${from}`;
}
