import type { DirectionCounts, Measure, Tunnel } from '../../../src/traffic/index.ts';

/** Sequence numbers of one direction of a TCP flow; survives the active timeout. */
export interface SequenceState {
  /** The number expected next; undefined before the direction's first segment. */
  next: number | undefined;
  /** The latest gap, `[gapStart, gapEnd)`; equal where there is none. */
  gapStart: number;
  gapEnd: number;
}

/** What one side of a flow sent. */
export class Direction {
  packets = 0;
  bytes = 0;
  payloadBytes = 0;
  tcpFlags = 0;
  squares = 0;
  lengthMin = 0;
  lengthMax = 0;
  firstMs = 0;
  lastMs = 0;
  iatCount = 0;
  iatMean = 0;
  iatM2 = 0;
  iatMin = 0;
  iatMax = 0;
  retransmittedPackets = 0;
  retransmittedBytes = 0;
  outOfOrderPackets = 0;
  windowMax = 0;

  count(timeMs: number, length: number, payloadBytes: number): void {
    if (this.packets === 0) {
      this.firstMs = timeMs;
      this.lengthMin = length;
    } else {
      this.#countIat(Math.max(0, timeMs - this.lastMs));
    }
    this.lastMs = timeMs;
    this.packets++;
    this.bytes += length;
    this.squares += length * length;
    this.payloadBytes += payloadBytes;
    this.lengthMin = Math.min(this.lengthMin, length);
    this.lengthMax = Math.max(this.lengthMax, length);
  }

  /** Welford's running mean and sum of squared deviations. */
  #countIat(iat: number): void {
    this.iatCount++;
    const deviation = iat - this.iatMean;
    this.iatMean += deviation / this.iatCount;
    this.iatM2 += deviation * (iat - this.iatMean);
    this.iatMin = this.iatCount === 1 ? iat : Math.min(this.iatMin, iat);
    this.iatMax = Math.max(this.iatMax, iat);
  }

  /** Rule 9: what a segment of `payload` bytes says of retransmission and order. */
  follow(state: SequenceState, sequence: number, payload: number, flags: number): void {
    const [isFin, isSyn, isRst] = [(flags & 1) !== 0, (flags & 2) !== 0, (flags & 4) !== 0];
    const length = payload + (isSyn ? 1 : 0) + (isFin ? 1 : 0);
    const end = (sequence + length) >>> 0;
    if (state.next === undefined) {
      state.next = end;
      return;
    }
    if (length === 0) return;
    const isProbe = payload === 1 && !isSyn && !isFin && !isRst && serial(sequence, state.next) === -1;
    if (isProbe) return;
    if (serial(end, state.next) <= 0) {
      const hasGap = state.gapStart !== state.gapEnd;
      if (hasGap && serial(sequence, state.gapStart) >= 0 && serial(end, state.gapEnd) <= 0) {
        this.outOfOrderPackets++;
        if (sequence === state.gapStart) state.gapStart = end;
        else if (end === state.gapEnd) state.gapEnd = sequence;
      } else {
        this.retransmittedPackets++;
        this.retransmittedBytes += payload;
      }
      return;
    }
    if (serial(sequence, state.next) > 0) {
      state.gapStart = state.next;
      state.gapEnd = sequence;
    }
    state.next = end;
  }

  counts(): DirectionCounts {
    const { packets, bytes, payloadBytes, tcpFlags } = this;
    return { packets, bytes, payloadBytes, tcpFlags };
  }

  measures(side: 'forward' | 'backward'): [Measure, number][] {
    const n = this.packets;
    const variance = n < 2 ? 0 : (this.squares - (this.bytes * this.bytes) / n) / (n - 1);
    return [
      [`${side}_length_min`, this.lengthMin],
      [`${side}_length_max`, this.lengthMax],
      [`${side}_length_mean`, n === 0 ? 0 : this.bytes / n],
      [`${side}_length_std`, Math.sqrt(Math.max(0, variance))],
      [`${side}_duration_ms`, Math.max(0, this.lastMs - this.firstMs)],
      [`${side}_iat_min_ms`, this.iatMin],
      [`${side}_iat_max_ms`, this.iatMax],
      [`${side}_iat_mean_ms`, this.iatMean],
      [`${side}_iat_std_ms`, this.iatCount < 2 ? 0 : Math.sqrt(this.iatM2 / (this.iatCount - 1))],
      [`${side}_retransmitted_packets`, this.retransmittedPackets],
      [`${side}_retransmitted_bytes`, this.retransmittedBytes],
      [`${side}_out_of_order_packets`, this.outOfOrderPackets],
      [`${side}_window_max`, this.windowMax],
    ];
  }
}

/** Smallest, largest, sum and number of the values it was told. */
class Spread {
  count = 0;
  min = 0;
  max = 0;
  sum = 0;

  add(value: number): void {
    this.min = this.count === 0 ? value : Math.min(this.min, value);
    this.max = Math.max(this.max, value);
    this.sum += value;
    this.count++;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }
}

/** What is measured of a flow beyond its directions; begins anew after the active timeout. */
export class WholeFlow {
  readonly #buckets = [0, 0, 0, 0, 0];
  readonly #firstLengths: number[] = [];
  readonly #active = new Spread();
  readonly #idle = new Spread();
  #periodStartMs = 0;
  #previousMs = 0;
  #packets = 0;
  dnsInspected = 0;
  entropyPackets = 0;
  entropySum = 0;
  entropyWeight = 0;

  count(timeMs: number, length: number, isForward: boolean, idlePeriodMs: number): void {
    if (this.#packets === 0) this.#periodStartMs = timeMs;
    const silence = timeMs - this.#previousMs;
    if (this.#packets > 0 && silence > idlePeriodMs) {
      this.#idle.add(silence);
      this.#active.add(Math.max(0, this.#previousMs - this.#periodStartMs));
      this.#periodStartMs = timeMs;
    }
    this.#previousMs = timeMs;
    this.#packets++;
    const bucket = BUCKETS.findIndex((most) => length <= most);
    if (bucket >= 0) this.#buckets[bucket]!++;
    if (this.#firstLengths.length < 8) this.#firstLengths.push(isForward ? length : -length);
  }

  /** `hasEntropy`: whether the meter was asked for it. Called once, when the flow ends. */
  measures(hasEntropy: boolean): [Measure, number][] {
    this.#active.add(Math.max(0, this.#previousMs - this.#periodStartMs));
    const [active, idle] = [this.#active, this.#idle];
    const entropy = this.entropyWeight > 0 ? this.entropySum / this.entropyWeight : 0;
    return [
      ...BUCKETS.map((most, i): [Measure, number] => [`packets_to_${most}`, this.#buckets[i]!]),
      ['active_min_ms', active.min],
      ['active_max_ms', active.max],
      ['active_mean_ms', active.mean],
      ['idle_count', idle.count],
      ['idle_min_ms', idle.min],
      ['idle_max_ms', idle.max],
      ['idle_mean_ms', idle.mean],
      ...FIRST.map((i): [Measure, number] => [`first_length_${i}`, this.#firstLengths[i - 1] ?? 0]),
      ...(hasEntropy ? [['payload_entropy', entropy] satisfies [Measure, number]] : []),
    ];
  }
}

/** A flow that is open. */
export interface TwinFlow {
  /** Number of the flow among all that were opened. */
  sequence: number;
  readonly key: string;
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly tunnel: Tunnel | undefined;
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly lowPort: number;
  readonly highPort: number;
  readonly isInitiatorLow: boolean;
  list: 'closed' | 'attempt' | 'idle';
  startMs: number;
  endMs: number;
  startClock: number;
  lastClock: number;
  forward: Direction;
  backward: Direction;
  whole: WholeFlow;
  initiatorState: number;
  responderState: number;
  expectedAck: number | undefined;
  handshakeSeen: boolean;
  readonly forwardSequence: SequenceState;
  readonly backwardSequence: SequenceState;
}

const BUCKETS = [128, 256, 512, 1024, 1514] as const;
const FIRST = [1, 2, 3, 4, 5, 6, 7, 8] as const;

/** How far `a` lies ahead of `b` in serial number arithmetic (RFC 1982). */
function serial(a: number, b: number): number {
  return (a - b) | 0;
}
