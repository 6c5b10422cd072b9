import type { Milliseconds } from '../base/index.ts';
import { countName } from './counters.ts';
import type { MeasureValues } from './derived-measures.ts';
import { type FlowRecord, type SourceCounters, TCP_FLAGS } from './flow.ts';
import { DIRECTION_MEASURES, FLOW_MEASURES } from './flow-measures.ts';
import { stateFromFlags } from './state-from-flags.ts';

export interface PairingOptions {
  /** How long a direction waits for the other one, in the exporter's time. */
  readonly waitMs: Milliseconds;
  /** Silence between the two directions at most; further apart they are two flows. */
  readonly maxGapMs: Milliseconds;
  /** Directions that wait, of all exporters; the oldest gives way. */
  readonly maxWaiting: number;
}

export const PAIRING_DEFAULTS: PairingOptions = { waitMs: 15_000, maxGapMs: 5_000, maxWaiting: 65_536 };

/** Directions of one five-tuple that wait, at most; a five-tuple that is used over and over cannot make a search long. */
const MAX_ALIKE = 16;

interface Waiting {
  readonly flow: FlowRecord;
  readonly key: string;
  readonly deadlineMs: Milliseconds;
}

/**
 * Joins flows of one direction, as exporters report them, to flows of both: two of reversed five-tuples from one
 * exporter that overlap in time or lie at most `maxGapMs` apart. The initiator is the side whose SYN the other did
 * not answer with one, else the one that began earlier, else (a tie) the one with the higher port, else the first to
 * come. What finds no other direction within `waitMs` of its exporter's time is handed out alone.
 */
export class FlowPairing {
  readonly #options: PairingOptions;
  readonly #counters: SourceCounters;
  readonly #waiting = new Map<string, Waiting[]>();
  /** Every waiting direction in order of arrival; those that were paired since stay until they come to the front. */
  #queue: Waiting[] = [];
  #front = 0;
  readonly #paired = new WeakSet<Waiting>();
  #count = 0;
  #ready: FlowRecord[] = [];

  constructor(options: Partial<PairingOptions>, counters: SourceCounters) {
    this.#options = { ...PAIRING_DEFAULTS, ...options };
    this.#counters = counters;
  }

  /** Directions that wait. */
  get size(): number {
    return this.#count;
  }

  /** Takes a flow of one direction; `nowMs` is the time by which it waits, `exporter` whom it comes from. */
  add(flow: FlowRecord, exporter: string, nowMs: Milliseconds): void {
    const key = pairKey(flow, exporter);
    const alike = this.#waiting.get(key) ?? [];
    const other = alike.find((waiting) => this.#areOne(waiting.flow, flow));
    if (other !== undefined) {
      this.#take(other);
      this.#ready.push(joinDirections(other.flow, flow));
      return;
    }
    if (alike.length >= MAX_ALIKE) this.#release(alike[0] as Waiting);
    if (this.#count >= this.#options.maxWaiting) {
      countName(this.#counters.limits, 'pairing');
      this.#releaseFront();
    }
    const waiting = { flow, key, deadlineMs: nowMs + this.#options.waitMs };
    const list = this.#waiting.get(key);
    if (list === undefined) this.#waiting.set(key, [waiting]);
    else list.push(waiting);
    this.#queue.push(waiting);
    this.#count++;
  }

  /** Lets go what has waited long enough at `nowMs`. */
  advance(nowMs: Milliseconds): void {
    for (;;) {
      this.#skipPaired();
      const front = this.#queue[this.#front];
      if (front === undefined || front.deadlineMs > nowMs) return;
      this.#release(front);
    }
  }

  /** Flows that are ready, in order of their end. */
  drain(): FlowRecord[] {
    const ready = this.#ready.sort((a, b) => a.endMs - b.endMs);
    this.#ready = [];
    return ready;
  }

  /** Lets go everything that waits. */
  finish(): FlowRecord[] {
    while (this.#count > 0) this.#releaseFront();
    return this.drain();
  }

  /** Drops everything that waits; returns how much it was. */
  clear(): number {
    const count = this.#count;
    this.#waiting.clear();
    this.#queue = [];
    this.#front = 0;
    this.#count = 0;
    return count;
  }

  #areOne(a: FlowRecord, b: FlowRecord): boolean {
    if (a.sourceAddress !== b.destinationAddress || a.destinationAddress !== b.sourceAddress) return false;
    const isReversed = isIcmp(a)
      ? requestType(a) === requestType(b)
      : a.sourcePort === b.destinationPort && a.destinationPort === b.sourcePort;
    if (!isReversed) return false;
    return Math.max(a.startMs, b.startMs) - Math.min(a.endMs, b.endMs) <= this.#options.maxGapMs;
  }

  #releaseFront(): void {
    this.#skipPaired();
    const front = this.#queue[this.#front];
    if (front !== undefined) this.#release(front);
  }

  #release(waiting: Waiting): void {
    this.#take(waiting);
    this.#ready.push(waiting.flow);
  }

  #take(waiting: Waiting): void {
    const list = this.#waiting.get(waiting.key) ?? [];
    if (list.length === 1) this.#waiting.delete(waiting.key);
    else list.splice(list.indexOf(waiting), 1);
    this.#paired.add(waiting);
    this.#count--;
  }

  #skipPaired(): void {
    for (;;) {
      const front = this.#queue[this.#front];
      if (front === undefined || !this.#paired.has(front)) break;
      this.#front++;
    }
    if (this.#front > 4096 && this.#front * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#front);
      this.#front = 0;
    }
  }
}

/** One flow of two that are each other's reverse; `a` came first. */
export function joinDirections(a: FlowRecord, b: FlowRecord): FlowRecord {
  const [initiator, responder] = isInitiator(a, b) ? [a, b] : [b, a];
  const { forward, sourceKind, protocol, sourceAddress, destinationAddress, sourcePort, destinationPort } =
    initiator;
  const backward = responder.forward;
  const measures: MeasureValues = {};
  for (const name of DIRECTION_MEASURES) {
    const there = initiator.measures?.[`forward_${name}`];
    const back = responder.measures?.[`forward_${name}`];
    if (there !== undefined) measures[`forward_${name}`] = there;
    if (back !== undefined) measures[`backward_${name}`] = back;
  }
  for (const name of FLOW_MEASURES) {
    const value = initiator.measures?.[name] ?? responder.measures?.[name];
    if (value !== undefined) measures[name] = value;
  }
  const names = initiator.names ?? responder.names;
  const last = initiator.endMs >= responder.endMs ? initiator : responder;
  return {
    sourceKind,
    protocol,
    sourceAddress,
    destinationAddress,
    sourcePort,
    destinationPort,
    startMs: Math.min(a.startMs, b.startMs),
    endMs: last.endMs,
    forward,
    backward,
    state: stateFromFlags(protocol, forward, backward),
    endReason: last.endReason,
    ...(Object.keys(measures).length > 0 && { measures }),
    ...(names !== undefined && { names }),
  };
}

function isInitiator(a: FlowRecord, b: FlowRecord): boolean {
  const synOf = (flow: FlowRecord) => flow.protocol === 6 && (flow.forward.tcpFlags & TCP_FLAGS.syn) !== 0;
  if (synOf(a) !== synOf(b)) return synOf(a);
  if (isIcmp(a) && a.sourcePort !== b.sourcePort) return requestType(a) === a.sourcePort;
  if (a.startMs !== b.startMs) return a.startMs < b.startMs;
  return isIcmp(a) || a.sourcePort >= b.sourcePort;
}

function isIcmp({ protocol }: FlowRecord): boolean {
  return protocol === 1 || protocol === 58;
}

/** Types of ICMP replies with the type of what they answer, by protocol. */
const REPLIES: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  1: { 0: 8, 14: 13, 16: 15, 18: 17 },
  58: { 129: 128 },
};

/** The type that a message's type answers, or its own. */
function requestType({ protocol, sourcePort: type }: FlowRecord): number {
  return REPLIES[protocol]?.[type] ?? type;
}

/** A text that is the same for both directions of a five-tuple. */
function pairKey(flow: FlowRecord, exporter: string): string {
  const { protocol, sourceAddress, destinationAddress } = flow;
  const [sourcePort, destinationPort] = isIcmp(flow) ? [0, 0] : [flow.sourcePort, flow.destinationPort];
  const isLow =
    sourceAddress < destinationAddress ||
    (sourceAddress === destinationAddress && sourcePort <= destinationPort);
  const source = `${sourceAddress} ${sourcePort}`;
  const destination = `${destinationAddress} ${destinationPort}`;
  return `${exporter} ${protocol} ${isLow ? `${source} ${destination}` : `${destination} ${source}`}`;
}
