import { formatIpv4, formatIpv6 } from '../../../src/traffic/address.ts';
import { countName, newCounters } from '../../../src/traffic/counters.ts';
import type { ConnectionState, EndReason, FlowRecord, SourceCounters } from '../../../src/traffic/index.ts';
import { METER_DEFAULTS } from '../../../src/traffic/index.ts';
import { FlowInspector } from '../../../src/traffic/inspect/flow-inspector.ts';
import { FragmentMemory, type FragmentPorts } from './fragment-memory.ts';
import type { Meter, TwinOptions } from './meter.ts';
import { type Datagram, type LaterFragment, readPacket } from './read-packet.ts';
import { afterSegment, SIDE, stateName } from './tcp-states.ts';
import { Direction, type SequenceState, type TwinFlow, WholeFlow } from './twin-flow.ts';

const TWIN_DEFAULTS: TwinOptions = {
  ...METER_DEFAULTS,
  idlePeriodMs: 5_000,
  payloadEntropy: false,
  maxNamedFlows: 65_536,
};

const TICK_MS = 1_000;
/** Ended flows that wait for a tick at most, give or take one pass of eviction. */
const MAX_PENDING = 16_384;
const REORDER_TOLERANCE_MS = 10_000;
const MAX_STEP_MS = 30 * 86_400_000;
const MAX_TIME_MS = 1e18;
/** What a length says beyond this is not believed when the packet is read. */
const MAX_WIRE_LENGTH = 2 ** 30 - 1;
const DNS_PORTS = [53, 5353, 5355];
const DNS_MESSAGES = 16;
const ENTROPY_PACKETS = 16;
const ENTROPY_BYTES = 2_048;
const [TCP, UDP] = [6, 17];
const FLAG = { syn: 2, rst: 4, ack: 16 } as const;

/** The packet in hand as its flow sees it. */
interface Seen {
  readonly packet: Datagram | LaterFragment;
  readonly timeMs: number;
  readonly key: string;
  readonly isSenderLow: boolean;
}

interface EndedFlow {
  readonly endClock: number;
  readonly sequence: number;
  readonly record: FlowRecord;
}

/**
 * The flow meter said plainly: the kernel must hand out what this hands out, in the same order. What neither the
 * records nor their order show is told here.
 *
 * - A time that is not finite or beyond 1e18 ms is no time: the packet has the newest one.
 * - Ended flows wait for the next tick, the first packet after a full second of traffic time, or until 16,384 of
 *   them wait; they are handed out by end (traffic time), then by the number of the flow.
 * - A deadline is the traffic time of the flow's last packet plus the timeout of its list. What lies behind its
 *   deadline ends with it, at the tick or before a packet of the same key, whichever comes first.
 * - A flow cut by the active timeout goes on with its initiator, TCP states, handshake and sequence numbers.
 * - Lengths have exact sums of squares, inter-arrival times Welford's recurrence; see `Direction`.
 * - One pass of eviction ends what has expired, then attempts, then whatever was silent longest, until 1/64 of
 *   `maxFlows` are free.
 * - A later fragment needs the first one's ports and its open flow; else it is counted and opens nothing. Overlaps
 *   are not looked at, and a tunnel whose outside is in fragments is not opened.
 * - What is broken or unknown inside a tunnel is counted with the prefix `inner-`, and the outside is metered.
 * - An Ethernet pseudowire in MPLS counts among the four wrappings that are opened, but is no tunnel.
 * - Payload is looked at up to 2,048 bytes a packet for its entropy.
 */
export class NaiveFlowMeter implements Meter {
  readonly counters: SourceCounters;
  readonly #options: TwinOptions;
  readonly #inspector: FlowInspector;
  readonly #open = new Map<string, TwinFlow>();
  readonly #fragments = new FragmentMemory();
  readonly #timeouts: Readonly<Record<TwinFlow['list'], number>>;
  #pending: EndedFlow[] = [];
  #out: FlowRecord[] = [];
  #clock = 0;
  #newestMs = Number.NaN;
  #lastTick = 0;
  #opened = 0;

  constructor(options: Partial<TwinOptions> = {}, counters: SourceCounters = newCounters()) {
    this.counters = counters;
    this.#options = { ...TWIN_DEFAULTS, ...options };
    const { tcpLingerMs, attemptTimeoutMs, idleTimeoutMs, maxNamedFlows } = this.#options;
    this.#timeouts = { closed: tcpLingerMs, attempt: attemptTimeoutMs, idle: idleTimeoutMs };
    this.#inspector = new FlowInspector(counters.limits, { maxNamedFlows });
  }

  get openFlows(): number {
    return this.#open.size;
  }

  addSlice(
    bytes: Uint8Array,
    offset: number,
    end: number,
    linkType: number,
    timeMs: number,
    wireLength: number,
  ): void {
    const { counters } = this;
    counters.packets++;
    counters.bytes += Math.max(wireLength, end - offset);
    const time = this.#moveClock(timeMs);
    this.#tick();
    const packet = readPacket(bytes, offset, end, linkType, Math.min(wireLength, MAX_WIRE_LENGTH));
    if (packet.is === 'ignored' || packet.is === 'malformed') {
      countName(counters[packet.is], packet.name);
    } else if (packet.is === 'later-fragment') {
      if (!this.#meterFragment(packet, time)) counters.fragments++;
    } else {
      if (packet.unopened !== undefined) countName(counters[packet.unopened.table], packet.unopened.name);
      this.#meterDatagram(packet, time, bytes);
    }
  }

  advance(nowMs: number): void {
    this.#moveClock(nowMs);
    this.#tick();
  }

  drain(): FlowRecord[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  finish(): FlowRecord[] {
    this.#expire(this.#clock);
    this.#handOut();
    const rest = [...this.#open.values()].sort(byLastClock);
    for (const flow of rest) {
      this.#end(flow, flow.list === 'closed' ? 'tcp-end' : 'end-of-source', flow.lastClock);
    }
    this.#handOut();
    this.#fragments.clear();
    return this.drain();
  }

  /** Moves traffic time; returns the packet's time, or the newest one where it has none. */
  #moveClock(timeMs: number): number {
    const isTime = Number.isFinite(timeMs) && Math.abs(timeMs) <= MAX_TIME_MS;
    if (Number.isNaN(this.#newestMs)) {
      this.#newestMs = isTime ? timeMs : 0;
      return this.#newestMs;
    }
    if (!isTime) return this.#newestMs;
    const step = timeMs - this.#newestMs;
    if (step > 0) this.#clock += Math.min(step, MAX_STEP_MS);
    if (step > 0 || step < -REORDER_TOLERANCE_MS) this.#newestMs = timeMs;
    return timeMs;
  }

  #tick(): void {
    const tick = Math.floor(this.#clock / TICK_MS);
    if (tick > this.#lastTick) {
      this.#lastTick = tick;
      this.#expire(tick * TICK_MS);
      this.#handOut();
    } else if (this.#pending.length >= MAX_PENDING) {
      this.#expire(this.#clock);
      this.#handOut();
    }
  }

  #deadline(flow: TwinFlow): number {
    return flow.lastClock + this.#timeouts[flow.list];
  }

  /** Ends what has its deadline at or before `clock`; returns how many flows. */
  #expire(clock: number): number {
    let ended = 0;
    for (const flow of this.#open.values()) {
      if (this.#deadline(flow) > clock) continue;
      this.#endExpired(flow);
      ended++;
    }
    return ended;
  }

  #endExpired(flow: TwinFlow): void {
    this.#end(flow, flow.list === 'closed' ? 'tcp-end' : 'idle', this.#deadline(flow));
  }

  #evict(): void {
    const quota = Math.max(1, Math.floor(this.#options.maxFlows / 64));
    const more = quota - this.#expire(this.#clock);
    if (more <= 0) return;
    const isAttempt = (flow: TwinFlow) => (flow.list === 'attempt' ? 0 : 1);
    const order = (a: TwinFlow, b: TwinFlow) => isAttempt(a) - isAttempt(b) || byLastClock(a, b);
    for (const flow of [...this.#open.values()].sort(order).slice(0, more)) {
      this.#end(flow, 'evicted', this.#clock);
      this.counters.evicted++;
      this.counters.limits.flows = (this.counters.limits.flows ?? 0) + 1;
    }
  }

  #meterDatagram(packet: Datagram, timeMs: number, bytes: Uint8Array): void {
    const seen = see(packet, packet, timeMs);
    const isSyn = ((packet.tcp?.flags ?? 0) & (FLAG.syn | FLAG.ack)) === FLAG.syn;
    const flow = this.#continued(seen, isSyn) ?? this.#begin(seen, packet);
    const isForward = flow.isInitiatorLow === seen.isSenderLow;
    const direction = isForward ? flow.forward : flow.backward;
    if (packet.protocol === TCP && direction.payloadBytes === 0) this.#inspectTls(flow, packet, bytes);
    if (packet.protocol === UDP) this.#inspectDns(flow, packet, bytes);
    if (this.#options.payloadEntropy) addEntropy(flow.whole, packet, bytes);
    this.#count(flow, seen);
    flow.list = 'idle';
    if (packet.tcp !== undefined) {
      direction.follow(
        isForward ? flow.forwardSequence : flow.backwardSequence,
        packet.tcp.sequence,
        packet.payloadBytes,
        packet.tcp.flags,
      );
      direction.windowMax = Math.max(direction.windowMax, packet.tcp.window ?? 0);
      direction.tcpFlags |= packet.tcp.flags;
      this.#moveTcp(flow, packet.tcp, isForward);
    }
    if (packet.fragmentId !== undefined) this.#fragments.note(packet, this.#clock);
  }

  /** Counts a fragment in the flow of its datagram; false where that is not open. */
  #meterFragment(fragment: LaterFragment, timeMs: number): boolean {
    const ports = this.#fragments.portsOf(fragment, this.#clock);
    if (ports === undefined) return false;
    const seen = see(fragment, ports, timeMs);
    const flow = this.#continued(seen, false);
    if (flow === undefined) return false;
    this.#count(flow, seen);
    return true;
  }

  /** The open flow of a packet, cut where it has lasted too long; undefined where it has ended or there is none. */
  #continued(seen: Seen, isSyn: boolean): TwinFlow | undefined {
    const flow = this.#open.get(seen.key);
    if (flow === undefined) return undefined;
    if (this.#deadline(flow) <= this.#clock) {
      this.#endExpired(flow);
      return undefined;
    }
    if (flow.list === 'closed' && isSyn) {
      this.#end(flow, 'tcp-end', this.#clock);
      return undefined;
    }
    if (this.#clock - flow.startClock < this.#options.activeTimeoutMs) return flow;
    this.#end(flow, 'active', this.#clock);
    const continuation: TwinFlow = {
      ...flow,
      sequence: this.#opened++,
      startMs: seen.timeMs,
      endMs: seen.timeMs,
      startClock: this.#clock,
      lastClock: this.#clock,
      forward: new Direction(),
      backward: new Direction(),
      whole: new WholeFlow(),
    };
    this.#open.set(flow.key, continuation);
    return continuation;
  }

  #begin(seen: Seen, packet: Datagram): TwinFlow {
    if (this.#open.size >= this.#options.maxFlows) this.#evict();
    const { isSenderLow, timeMs } = seen;
    const flags = packet.tcp?.flags ?? 0;
    // Whoever answers a SYN is not the one who began.
    const isLate = (flags & FLAG.syn) !== 0 && (flags & FLAG.ack) !== 0;
    const flow: TwinFlow = {
      sequence: this.#opened++,
      key: seen.key,
      version: packet.version,
      protocol: packet.protocol,
      tunnel: packet.tunnel,
      low: isSenderLow ? packet.source : packet.destination,
      high: isSenderLow ? packet.destination : packet.source,
      lowPort: isSenderLow ? packet.sourcePort : packet.destinationPort,
      highPort: isSenderLow ? packet.destinationPort : packet.sourcePort,
      isInitiatorLow: isSenderLow !== isLate,
      list: 'idle',
      startMs: timeMs,
      endMs: timeMs,
      startClock: this.#clock,
      lastClock: this.#clock,
      forward: new Direction(),
      backward: new Direction(),
      whole: new WholeFlow(),
      initiatorState: SIDE.inactive,
      responderState: SIDE.inactive,
      expectedAck: undefined,
      handshakeSeen: false,
      forwardSequence: newSequence(),
      backwardSequence: newSequence(),
    };
    this.#open.set(seen.key, flow);
    return flow;
  }

  #count(flow: TwinFlow, { packet, timeMs, isSenderLow }: Seen): void {
    const isForward = flow.isInitiatorLow === isSenderLow;
    const direction = isForward ? flow.forward : flow.backward;
    direction.count(timeMs, packet.ipBytes, packet.payloadBytes);
    flow.whole.count(timeMs, packet.ipBytes, isForward, this.#options.idlePeriodMs);
    flow.startMs = Math.min(flow.startMs, timeMs);
    flow.endMs = Math.max(flow.endMs, timeMs);
    flow.lastClock = this.#clock;
  }

  #moveTcp(flow: TwinFlow, tcp: NonNullable<Datagram['tcp']>, isForward: boolean): void {
    const { flags, sequence, acknowledgement } = tcp;
    if (isForward) {
      const after = afterSegment(flow.initiatorState, flow.responderState, flags);
      flow.initiatorState = after.sender;
      flow.responderState = after.peer;
      const isAnswer = (flags & (FLAG.syn | FLAG.ack | FLAG.rst)) === FLAG.ack;
      if (isAnswer && acknowledgement === flow.expectedAck) flow.handshakeSeen = true;
    } else {
      const after = afterSegment(flow.responderState, flow.initiatorState, flags);
      flow.responderState = after.sender;
      flow.initiatorState = after.peer;
      const isSynAck = (flags & FLAG.syn) !== 0 && (flags & FLAG.ack) !== 0;
      if (isSynAck) flow.expectedAck = (sequence + 1) >>> 0;
    }
    const states = [flow.initiatorState, flow.responderState];
    const isOver = states.includes(SIDE.reset) || states.every((state) => state === SIDE.closed);
    if (isOver && this.#options.splitAtTcpEnd) flow.list = 'closed';
    else if (flow.initiatorState === SIDE.synSent && flow.responderState === SIDE.inactive) {
      flow.list = 'attempt';
    }
  }

  #inspectDns(flow: TwinFlow, packet: Datagram, bytes: Uint8Array): void {
    const isDns = DNS_PORTS.includes(packet.sourcePort) || DNS_PORTS.includes(packet.destinationPort);
    if (!isDns || packet.payloadEnd - packet.payloadAt < 12) return;
    if (flow.whole.dnsInspected++ >= DNS_MESSAGES) return;
    this.#inspector.dns(flow.sequence, bytes, packet.payloadAt, packet.payloadEnd);
  }

  #inspectTls(flow: TwinFlow, packet: Datagram, bytes: Uint8Array): void {
    const at = packet.payloadAt;
    if (packet.payloadEnd - at < 6) return;
    if (bytes[at] !== 0x16 || bytes[at + 1] !== 3 || bytes[at + 5] !== 1) return;
    this.#inspector.tls(flow.sequence, bytes, at, packet.payloadEnd);
  }

  #end(flow: TwinFlow, reason: EndReason, endClock: number): void {
    this.#open.delete(flow.key);
    this.counters.flows++;
    const record = toRecord(flow, reason, this.#options.payloadEntropy);
    this.#pending.push({ endClock, sequence: flow.sequence, record });
  }

  #handOut(): void {
    this.#pending.sort((a, b) => a.endClock - b.endClock || a.sequence - b.sequence);
    for (const { record, sequence } of this.#pending) {
      const inspected = this.#inspector.take(sequence);
      if (inspected === undefined) {
        this.#out.push(record);
        continue;
      }
      const { names } = inspected;
      const measures = { ...record.measures, ...inspected.measures };
      this.#out.push({ ...record, measures, ...(names !== undefined && { names }) });
    }
    this.#pending = [];
  }
}

/** The key of a packet with these ports: the five-tuple, the lower endpoint first, and the tunnel. */
function see(packet: Datagram | LaterFragment, ports: FragmentPorts, timeMs: number): Seen {
  const { version, source, destination, tunnel } = packet;
  const { protocol, sourcePort, destinationPort } = ports;
  const isIcmp = protocol === (version === 4 ? 1 : 58);
  let order = 0;
  for (let word = 0; word < 4 && order === 0; word++) order = source[word]! - destination[word]!;
  if (order === 0 && !isIcmp) order = sourcePort - destinationPort;
  const isSenderLow = order <= 0;
  const ends = isSenderLow ? [source, destination] : [destination, source];
  const bothPorts = isSenderLow ? [sourcePort, destinationPort] : [destinationPort, sourcePort];
  const keyPorts = isIcmp ? [requestType(version, sourcePort), destinationPort] : bothPorts;
  const key = [version, protocol, ...ends.flat(), ...keyPorts, tunnel?.kind, tunnel?.id].join();
  return { packet, timeMs, key, isSenderLow };
}

/** The request that an ICMP reply answers, so that both have one key; other types are their own. */
function requestType(version: number, type: number): number {
  const replies: Readonly<Record<number, number>> =
    version === 6 ? { 129: 128, 134: 133, 136: 135, 140: 139 } : { 0: 8, 9: 10, 14: 13, 16: 15, 18: 17 };
  return replies[type] ?? type;
}

function addEntropy(whole: WholeFlow, { payloadAt, payloadEnd }: Datagram, bytes: Uint8Array): void {
  const length = Math.min(payloadEnd - payloadAt, ENTROPY_BYTES);
  if (length <= 0 || whole.entropyPackets++ >= ENTROPY_PACKETS) return;
  const counts = new Array<number>(256).fill(0);
  for (let at = payloadAt; at < payloadAt + length; at++) counts[bytes[at]!]!++;
  const term = (count: number) => (count === 0 ? 0 : count * Math.log2(count));
  whole.entropySum += term(length) - counts.reduce((sum, count) => sum + term(count), 0);
  whole.entropyWeight += length;
}

function toRecord(flow: TwinFlow, endReason: EndReason, hasEntropy: boolean): FlowRecord {
  const { protocol, version, forward, backward, tunnel } = flow;
  const [low, high] = [flow.low, flow.high].map(([a = 0, b = 0, c = 0, d = 0]) =>
    version === 4 ? formatIpv4(a) : formatIpv6(a, b, c, d),
  ) as [string, string];
  let state: ConnectionState = forward.packets > 0 && backward.packets > 0 ? 'SF' : 'S0';
  if (protocol === TCP) state = stateName(flow.initiatorState, flow.responderState);
  return {
    sourceKind: 'packets',
    protocol,
    sourceAddress: flow.isInitiatorLow ? low : high,
    destinationAddress: flow.isInitiatorLow ? high : low,
    sourcePort: flow.isInitiatorLow ? flow.lowPort : flow.highPort,
    destinationPort: flow.isInitiatorLow ? flow.highPort : flow.lowPort,
    startMs: flow.startMs,
    endMs: flow.endMs,
    forward: forward.counts(),
    backward: backward.counts(),
    state,
    endReason,
    handshakeSeen: flow.handshakeSeen,
    measures: Object.fromEntries([
      ...forward.measures('forward'),
      ...backward.measures('backward'),
      ...flow.whole.measures(hasEntropy),
    ]),
    ...(tunnel !== undefined && { tunnel }),
  };
}

function newSequence(): SequenceState {
  return { next: undefined, gapStart: 0, gapEnd: 0 };
}

function byLastClock(a: TwinFlow, b: TwinFlow): number {
  return a.lastClock - b.lastClock || a.sequence - b.sequence;
}
