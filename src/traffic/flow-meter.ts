import { getRandomValues } from 'node:crypto';
import type { Bytes, Milliseconds } from '../base/index.ts';
import { formatIpv4, formatIpv6 } from './address.ts';
import { advanceTcp, SIDE, tcpConnectionState } from './connection-state.ts';
import { countName, newCounters } from './counters.ts';
import { TrafficError } from './errors.ts';
import {
  type ConnectionState,
  type DirectionCounts,
  type EndReason,
  type FlowRecord,
  type SourceCounters,
  TCP_FLAGS,
} from './flow.ts';
import { FlowTable, NUMBER, NUMBERS, WORD, WORDS } from './flow-table.ts';
import { PACKET, PacketParser } from './packet-parser.ts';

export interface MeterOptions {
  /** A flow ends when it was silent for this long. */
  readonly idleTimeoutMs: Milliseconds;
  /** The same for a TCP flow whose SYN nobody has answered. */
  readonly attemptTimeoutMs: Milliseconds;
  /** A flow that lasts longer is handed out in pieces of at least this length. */
  readonly activeTimeoutMs: Milliseconds;
  /** How long a TCP flow lingers after RST or both FINs, so that trailing segments open no new flow. */
  readonly tcpLingerMs: Milliseconds;
  /** Whether RST or both FINs end a TCP flow; false leaves that to the timeouts. */
  readonly splitAtTcpEnd: boolean;
  /** Open flows held at most; the one silent longest is ended for a new one. About 150 bytes each. */
  readonly maxFlows: number;
}

export const METER_DEFAULTS: MeterOptions = {
  idleTimeoutMs: 30_000,
  attemptTimeoutMs: 5_000,
  activeTimeoutMs: 300_000,
  tcpLingerMs: 2_000,
  splitAtTcpEnd: true,
  maxFlows: 200_000,
};

/** Lists of the flow table: each has one timeout, so its oldest flow is always the next to expire. */
const CLOSED = 0;
const ATTEMPT = 1;
const IDLE = 2;
const LISTS = 3;

/** Packets this much older than the newest one are late; older still, and the source's clock was set back. */
const REORDER_TOLERANCE_MS = 10_000;
/** Longest step of traffic time, so that jumping clocks cannot push it to where a double has no milliseconds. */
const MAX_STEP_MS = 30 * 86_400_000;
const MAX_FLOWS_LIMIT = 1 << 24;
const TCP = 6;

/** Bits of `WORD.state`: forward and backward flags, both sides' states, and these. */
const INITIATOR_IS_LOW = 1 << 24;
const HANDSHAKE_SEEN = 1 << 25;
const ACK_EXPECTED = 1 << 26;

/**
 * Packets in, bidirectional flows out. Flows are keyed by the five-tuple; the initiator is the sender of the first
 * packet, or its receiver where that packet is a SYN+ACK (the capture began late). ICMP requests and their replies
 * are one flow.
 *
 * Flows end in traffic time, which never goes back: late packets do not move it, a clock that was set back only
 * moves its base, and a jump forward ends what it should. They are handed out in the order they ended, whatever
 * the packets were, so that equal input gives equal output. A flow cut by the active timeout goes on with its
 * direction and TCP state. Memory is bounded by `maxFlows`, and the cost of a packet does not depend on it.
 */
export class FlowMeter {
  readonly counters: SourceCounters;
  readonly #table: FlowTable;
  readonly #parser = new PacketParser();
  readonly #activeTimeout: Milliseconds;
  readonly #timeouts: Float64Array;
  readonly #maxFlows: number;
  readonly #splitAtTcpEnd: boolean;
  /** Traffic time: starts at 0 and never goes back. */
  #clock = 0;
  /** The packet time that `#clock` stands for; NaN before the first packet. */
  #newestMs = Number.NaN;
  /** No flow expires before this traffic time. */
  #nextExpiry = Number.POSITIVE_INFINITY;
  /** Whether the sender of the packet in hand is the lower endpoint of the key. */
  #senderIsLow = false;
  #finished: FlowRecord[] = [];

  /** `counters` may be shared with the reader of the capture. Throws `traffic.meter-options-invalid`. */
  constructor(options: Partial<MeterOptions> = {}, counters: SourceCounters = newCounters()) {
    this.counters = counters;
    const o = { ...METER_DEFAULTS, ...options };
    for (const name of ['idleTimeoutMs', 'attemptTimeoutMs', 'activeTimeoutMs', 'tcpLingerMs'] as const) {
      if (!(o[name] > 0)) {
        throw new TrafficError('traffic.meter-options-invalid', `expected ${name} above 0, got ${o[name]}`);
      }
    }
    if (!Number.isInteger(o.maxFlows) || o.maxFlows < 1 || o.maxFlows > MAX_FLOWS_LIMIT) {
      throw new TrafficError(
        'traffic.meter-options-invalid',
        `expected maxFlows from 1 to ${MAX_FLOWS_LIMIT}, got ${o.maxFlows}`,
      );
    }
    this.#timeouts = Float64Array.of(o.tcpLingerMs, o.attemptTimeoutMs, o.idleTimeoutMs);
    this.#activeTimeout = o.activeTimeoutMs;
    this.#maxFlows = o.maxFlows;
    this.#splitAtTcpEnd = o.splitAtTcpEnd;
    this.#table = new FlowTable(LISTS, getRandomValues(new Uint32Array(2)));
  }

  /** Flows that are open now. */
  get openFlows(): number {
    return this.#table.size;
  }

  /** Meters one packet, whose captured bytes are `packet`. Never throws; faults are counted. */
  add(packet: Uint8Array, linkType: number, timeMs: Milliseconds, wireLength: Bytes): void {
    this.addSlice(packet, 0, packet.length, linkType, timeMs, wireLength);
  }

  /** Like `add` for the packet in `bytes[offset, end)`, which is only read during the call. */
  addSlice(
    bytes: Uint8Array,
    offset: number,
    end: number,
    linkType: number,
    timeMs: Milliseconds,
    wireLength: Bytes,
  ): void {
    const { counters } = this;
    counters.packets++;
    counters.bytes += Math.max(wireLength, end - offset);
    const time = this.#advance(timeMs);
    if (this.#clock >= this.#nextExpiry) this.#sweep();
    switch (this.#parser.parse(bytes, offset, end, linkType, wireLength)) {
      case PACKET.flow:
        this.#meter(time);
        break;
      case PACKET.fragment:
        counters.fragments++;
        break;
      case PACKET.ignored:
        countName(counters.ignored, this.#parser.reason);
        break;
      default:
        countName(counters.malformed, this.#parser.reason);
    }
  }

  /** The flows that ended since the last `drain`, in the order they ended; the array is the caller's. */
  drain(): FlowRecord[] {
    const finished = this.#finished;
    if (finished.length > 0) this.#finished = [];
    return finished;
  }

  /** Ends every open flow, in the order of their last packets, and drains. */
  finish(): FlowRecord[] {
    for (let slot = this.#longestSilent(); slot >= 0; slot = this.#longestSilent()) {
      const list = this.#table.words[slot * WORDS + WORD.list];
      this.#end(slot, list === CLOSED ? 'tcp-end' : 'end-of-source');
    }
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    return this.drain();
  }

  /** Moves traffic time; returns the packet's time, or the newest one where it has none. */
  #advance(timeMs: Milliseconds): Milliseconds {
    if (Number.isNaN(this.#newestMs)) {
      this.#newestMs = Number.isFinite(timeMs) ? timeMs : 0;
      return this.#newestMs;
    }
    if (!Number.isFinite(timeMs)) return this.#newestMs;
    const step = timeMs - this.#newestMs;
    if (step > 0) this.#clock += Math.min(step, MAX_STEP_MS);
    if (step > 0 || step < -REORDER_TOLERANCE_MS) this.#newestMs = timeMs;
    return timeMs;
  }

  /** Ends every flow whose timeout has passed, the earliest first. */
  #sweep(): void {
    for (;;) {
      let first = -1;
      let expiry = Number.POSITIVE_INFINITY;
      for (let list = 0; list < LISTS; list++) {
        const slot = this.#table.oldest(list);
        if (slot < 0) continue;
        const at = this.#table.numbers[slot * NUMBERS + NUMBER.lastClock]! + this.#timeouts[list]!;
        if (at < expiry) {
          expiry = at;
          first = slot;
        }
      }
      this.#nextExpiry = expiry;
      if (first < 0 || expiry > this.#clock) return;
      const list = this.#table.words[first * WORDS + WORD.list];
      this.#end(first, list === CLOSED ? 'tcp-end' : 'idle');
    }
  }

  /** The open flow whose last packet is the oldest, or -1. */
  #longestSilent(): number {
    let first = -1;
    let oldest = Number.POSITIVE_INFINITY;
    for (let list = 0; list < LISTS; list++) {
      const slot = this.#table.oldest(list);
      if (slot < 0) continue;
      const last = this.#table.numbers[slot * NUMBERS + NUMBER.lastClock]!;
      if (last < oldest) {
        oldest = last;
        first = slot;
      }
    }
    return first;
  }

  /** Adds the parsed packet to its flow. */
  #meter(time: Milliseconds): void {
    const table = this.#table;
    const flags = this.#parser.tcpFlags;
    const isSyn = (flags & (TCP_FLAGS.syn | TCP_FLAGS.ack)) === TCP_FLAGS.syn;
    this.#writeKey();
    const hash = table.hashKey();
    let slot = table.find(hash);
    if (slot >= 0) {
      const at = slot * WORDS;
      if (table.words[at + WORD.list] === CLOSED && isSyn) {
        this.#end(slot, 'tcp-end');
        slot = -1;
      } else if (this.#clock - table.numbers[slot * NUMBERS + NUMBER.startClock]! >= this.#activeTimeout) {
        slot = this.#restart(slot, hash, time);
      } else {
        table.unlink(slot);
      }
    }
    if (slot < 0) slot = this.#open(hash, time);
    this.#count(slot, time);
    const list = this.#parser.protocol === TCP ? this.#advanceTcp(slot) : IDLE;
    table.append(slot, list);
    const expiry = this.#clock + this.#timeouts[list]!;
    if (expiry < this.#nextExpiry) this.#nextExpiry = expiry;
  }

  /** Writes the five-tuple of the parsed packet into the table's key, the lower endpoint first. */
  #writeKey(): void {
    const p = this.#parser;
    const isIcmp = p.protocol === (p.version === 4 ? 1 : 58);
    const order =
      p.source0 - p.destination0 ||
      p.source1 - p.destination1 ||
      p.source2 - p.destination2 ||
      p.source3 - p.destination3 ||
      (isIcmp ? 0 : p.sourcePort - p.destinationPort);
    const low = order <= 0;
    this.#senderIsLow = low;
    const key = this.#table.key;
    key[low ? 0 : 4] = p.source0;
    key[low ? 1 : 5] = p.source1;
    key[low ? 2 : 6] = p.source2;
    key[low ? 3 : 7] = p.source3;
    key[low ? 4 : 0] = p.destination0;
    key[low ? 5 : 1] = p.destination1;
    key[low ? 6 : 2] = p.destination2;
    key[low ? 7 : 3] = p.destination3;
    if (isIcmp) key[WORD.ports] = (icmpRequestType(p.version, p.sourcePort) << 16) | p.destinationPort;
    else if (low) key[WORD.ports] = (p.sourcePort << 16) | p.destinationPort;
    else key[WORD.ports] = (p.destinationPort << 16) | p.sourcePort;
    key[WORD.kind] = (p.version << 8) | p.protocol;
  }

  /** A new flow that begins with the parsed packet, in no list. */
  #open(hash: number, time: Milliseconds): number {
    const table = this.#table;
    if (table.size >= this.#maxFlows) {
      this.counters.evicted++;
      this.#end(this.#longestSilent(), 'evicted');
    }
    const slot = table.insert(hash);
    const synAck = TCP_FLAGS.syn | TCP_FLAGS.ack;
    const isLate = this.#parser.protocol === TCP && (this.#parser.tcpFlags & synAck) === synAck;
    if (this.#senderIsLow !== isLate) table.words[slot * WORDS + WORD.state] = INITIATOR_IS_LOW;
    table.words[slot * WORDS + WORD.icmpType] = this.#parser.sourcePort;
    this.#setStart(slot, time);
    return slot;
  }

  /** Ends a flow at the active timeout and opens its continuation, which keeps direction and TCP state. */
  #restart(slot: number, hash: number, time: Milliseconds): number {
    const table = this.#table;
    const at = slot * WORDS;
    const state = table.words[at + WORD.state]!;
    const expectedAck = table.words[at + WORD.expectedAck]!;
    const icmpType = table.words[at + WORD.icmpType]!;
    this.#end(slot, 'active');
    const next = table.insert(hash);
    const nextAt = next * WORDS;
    table.words[nextAt + WORD.state] = (state & ~0xffff) >>> 0;
    table.words[nextAt + WORD.expectedAck] = expectedAck;
    table.words[nextAt + WORD.icmpType] = icmpType;
    this.#setStart(next, time);
    return next;
  }

  #setStart(slot: number, time: Milliseconds): void {
    const at = slot * NUMBERS;
    const numbers = this.#table.numbers;
    numbers[at + NUMBER.firstMs] = time;
    numbers[at + NUMBER.lastMs] = time;
    numbers[at + NUMBER.startClock] = this.#clock;
  }

  #count(slot: number, time: Milliseconds): void {
    const { words, numbers } = this.#table;
    const p = this.#parser;
    const w = slot * WORDS;
    const n = slot * NUMBERS;
    if (this.#isForward(slot)) {
      words[w + WORD.forwardPackets]!++;
      numbers[n + NUMBER.forwardBytes]! += p.ipBytes;
      numbers[n + NUMBER.forwardPayload]! += p.payloadBytes;
    } else {
      words[w + WORD.backwardPackets]!++;
      numbers[n + NUMBER.backwardBytes]! += p.ipBytes;
      numbers[n + NUMBER.backwardPayload]! += p.payloadBytes;
    }
    if (time > numbers[n + NUMBER.lastMs]!) numbers[n + NUMBER.lastMs] = time;
    if (time < numbers[n + NUMBER.firstMs]!) numbers[n + NUMBER.firstMs] = time;
    numbers[n + NUMBER.lastClock] = this.#clock;
  }

  /** Whether the initiator of `slot` sent the packet in hand. */
  #isForward(slot: number): boolean {
    return ((this.#table.words[slot * WORDS + WORD.state]! & INITIATOR_IS_LOW) !== 0) === this.#senderIsLow;
  }

  /** Moves the TCP state of `slot`; returns the list it now belongs to. */
  #advanceTcp(slot: number): number {
    const words = this.#table.words;
    const { tcpFlags: flags, tcpSequence, tcpAcknowledgement } = this.#parser;
    const at = slot * WORDS;
    let state = words[at + WORD.state]!;
    let initiator = (state >>> 16) & 15;
    let responder = (state >>> 20) & 15;
    if (this.#isForward(slot)) {
      const both = advanceTcp(initiator, responder, flags);
      initiator = both & 15;
      responder = both >>> 4;
      state |= flags;
      const isAnswer = (flags & (TCP_FLAGS.syn | TCP_FLAGS.ack | TCP_FLAGS.rst)) === TCP_FLAGS.ack;
      if (isAnswer && (state & ACK_EXPECTED) !== 0 && tcpAcknowledgement === words[at + WORD.expectedAck]) {
        state |= HANDSHAKE_SEEN;
      }
    } else {
      const both = advanceTcp(responder, initiator, flags);
      responder = both & 15;
      initiator = both >>> 4;
      state |= flags << 8;
      if ((flags & (TCP_FLAGS.syn | TCP_FLAGS.ack)) === (TCP_FLAGS.syn | TCP_FLAGS.ack)) {
        state |= ACK_EXPECTED;
        words[at + WORD.expectedAck] = tcpSequence + 1;
      }
    }
    words[at + WORD.state] = (state & ~0xff0000) | (initiator << 16) | (responder << 20);
    const isClosed =
      initiator === SIDE.reset ||
      responder === SIDE.reset ||
      (initiator === SIDE.closed && responder === SIDE.closed);
    if (isClosed && this.#splitAtTcpEnd) return CLOSED;
    return initiator === SIDE.synSent && responder === SIDE.inactive ? ATTEMPT : IDLE;
  }

  /** Takes a flow out of list and table and puts its record in line. */
  #end(slot: number, reason: EndReason): void {
    this.#table.unlink(slot);
    this.#finished.push(this.#record(slot, reason));
    this.counters.flows++;
    this.#table.remove(slot);
  }

  #record(slot: number, endReason: EndReason): FlowRecord {
    const { words, numbers } = this.#table;
    const w = slot * WORDS;
    const n = slot * NUMBERS;
    const state = words[w + WORD.state]!;
    const kind = words[w + WORD.kind]!;
    const ports = words[w + WORD.ports]!;
    const protocol = kind & 255;
    const isIpv4 = kind >>> 8 === 4;
    const isLow = (state & INITIATOR_IS_LOW) !== 0;
    const isIcmp = protocol === (isIpv4 ? 1 : 58);
    const address = (at: number) =>
      isIpv4
        ? formatIpv4(words[at]!)
        : formatIpv6(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    const low = address(w + WORD.low);
    const high = address(w + WORD.high);
    const forward: DirectionCounts = {
      packets: words[w + WORD.forwardPackets]!,
      bytes: numbers[n + NUMBER.forwardBytes]!,
      payloadBytes: numbers[n + NUMBER.forwardPayload]!,
      tcpFlags: state & 255,
    };
    const backward: DirectionCounts = {
      packets: words[w + WORD.backwardPackets]!,
      bytes: numbers[n + NUMBER.backwardBytes]!,
      payloadBytes: numbers[n + NUMBER.backwardPayload]!,
      tcpFlags: (state >>> 8) & 255,
    };
    let connection: ConnectionState = forward.packets > 0 && backward.packets > 0 ? 'SF' : 'S0';
    if (protocol === TCP) connection = tcpConnectionState((state >>> 16) & 15, (state >>> 20) & 15);
    return {
      sourceKind: 'packets',
      protocol,
      sourceAddress: isLow ? low : high,
      destinationAddress: isLow ? high : low,
      sourcePort: isIcmp ? words[w + WORD.icmpType]! : isLow ? ports >>> 16 : ports & 0xffff,
      destinationPort: isIcmp || isLow ? ports & 0xffff : ports >>> 16,
      startMs: numbers[n + NUMBER.firstMs]!,
      endMs: numbers[n + NUMBER.lastMs]!,
      forward,
      backward,
      state: connection,
      endReason,
      handshakeSeen: (state & HANDSHAKE_SEEN) !== 0,
    };
  }
}

/** The request that an ICMP reply answers, so that both have one key; other types are their own. */
function icmpRequestType(version: number, type: number): number {
  if (version === 6) return type === 129 || type === 134 || type === 136 || type === 140 ? type - 1 : type;
  if (type === 0) return 8;
  if (type === 9) return 10;
  return type === 14 || type === 16 || type === 18 ? type - 1 : type;
}
