import { readFile } from 'node:fs/promises';
import type { FlowRecord } from '../traffic/index.ts';
import type { AttackKind } from './attacks/stage.ts';
import type { Conversation } from './conversation.ts';
import { LabError } from './errors.ts';

interface Span {
  readonly label: string;
  /** How many conversations of this label its source or its target had before. */
  readonly order: number;
  readonly startMs: number;
  readonly endMs: number;
}

export const LABELS_HEADER = 'protocol,source,source_port,destination,destination_port,start_ms,end_ms,label';

/** Kinds whose single conversation shows nothing: the attack is in their number. */
const KNOWN_BY_NUMBER: ReadonlySet<string> = new Set<AttackKind>([
  'port-scan',
  'host-sweep',
  'slow-scan',
  'syn-flood',
  'slow-http',
  'password-guessing',
  'beaconing',
]);
const UNTELLABLE = 4;
const UNTELLABLE_WEIGHT = 0.02;

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
  /** Conversations so far by label and source, and by label and target. */
  readonly #orders = new Map<string, number>();
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
      order: this.#count(label, client.text, server.text),
      startMs: originMs + firstUs / 1000,
      endMs: originMs + lastUs / 1000,
    });
  }

  /** Reads a labels file. Throws `lab.labels-malformed` with the number of the line. */
  static async read(path: string): Promise<LabLabels> {
    return LabLabels.parse(await readFile(path, 'utf8'));
  }

  /** Reads the text of a labels file. Throws as `read`. */
  static parse(text: string): LabLabels {
    const labels = new LabLabels();
    const lines = text.split('\n');
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
      const order = labels.#count(label, source, destination);
      labels.#add(key, { label, order, startMs: Number(start), endMs: Number(end) });
    });
    return labels;
  }

  /** `benign`, an attack kind, or undefined where the lab made no such flow. */
  find(flow: FlowRecord): string | undefined {
    return this.#span(flow)?.label;
  }

  /** As `find`; a flow that the lab did not make is benign. */
  labelOf(flow: FlowRecord): string {
    return this.find(flow) ?? 'benign';
  }

  /**
   * Weight of a flow in training, 0 to 1. The first probes of a scan are packets as any other; a model that is made
   * to call them an attack learns to suspect every stray packet. So they hardly count.
   */
  weightOf(flow: FlowRecord): number {
    const span = this.#span(flow);
    if (span === undefined || !KNOWN_BY_NUMBER.has(span.label)) return 1;
    return span.order < UNTELLABLE ? UNTELLABLE_WEIGHT : 1;
  }

  #span(flow: FlowRecord): Span | undefined {
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
    return best;
  }

  #count(label: string, source: string, target: string): number {
    if (!KNOWN_BY_NUMBER.has(label)) return 0;
    let most = 0;
    for (const key of [`${label} from ${source}`, `${label} to ${target}`]) {
      const before = this.#orders.get(key) ?? 0;
      this.#orders.set(key, before + 1);
      most = Math.max(most, before);
    }
    return most;
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
