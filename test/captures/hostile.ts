import assert from 'node:assert/strict';
import type { SeededRandom } from '../../src/base/index.ts';
import { countName } from '../../src/traffic/counters.ts';
import type { FlowBatch, FlowRecord } from '../../src/traffic/index.ts';
import { FlowMeter } from '../../src/traffic/meter/flow-meter.ts';
import { PcapCapture } from '../../src/traffic/meter/pcap-capture.ts';
import { isPcapng, PcapngReader } from '../../src/traffic/pcapng-reader.ts';
import { ipv4, tcp } from '../support/packets.ts';
import { PcapReader } from '../support/pcap-reader.ts';
import { NaiveFlowMeter } from '../twins/flow-meter/naive-flow-meter.ts';
import { plainCounters, recordLine } from '../twins/flow-meter/side-by-side.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** A capture cut at a random place. */
export function truncate(capture: Bytes, random: SeededRandom): Bytes {
  return capture.slice(0, random.integer(0, capture.length));
}

/** A capture with `flips` random bits flipped. */
export function flipBits(capture: Bytes, flips: number, random: SeededRandom): Bytes {
  const bytes = capture.slice();
  for (let i = 0; i < flips && bytes.length > 0; i++) {
    bytes[random.integer(0, bytes.length - 1)]! ^= 1 << random.integer(0, 7);
  }
  return bytes;
}

/**
 * The product's way through a capture file and the twin's, over many captures. The kernel reads pieces of random size
 * behind whatever it read before; the twin gets each packet in an array of its own. So equal results also say that
 * nothing outside a packet was read. After each capture the meters go on with the next.
 */
export class HostileReading {
  readonly #kernel = new FlowMeter(OPTIONS);
  readonly #twin = new NaiveFlowMeter(OPTIONS);
  readonly #random: SeededRandom;
  inputs = 0;
  packets = 0;
  flows = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Throws where the two differ on a capture. */
  read(capture: Bytes): void {
    const ours = this.#readByKernel(capture);
    const theirs = this.#readByTwin(capture);
    const rows = Math.max(ours.length, theirs.length);
    for (let i = 0; i < rows; i++) {
      if (recordLine(ours[i]) !== recordLine(theirs[i])) assert.deepEqual(ours[i], theirs[i], `flow ${i}`);
    }
    assert.deepEqual(plainCounters(this.#kernel.counters), plainCounters(this.#twin.counters));
    assert.equal(this.#kernel.openFlows, 0);
    this.inputs++;
    this.packets = this.#twin.counters.packets;
    this.flows += rows;
  }

  #readByKernel(capture: Bytes): FlowRecord[] {
    const meter = this.#kernel;
    const records: FlowRecord[] = [];
    const fault = (code: string) => countName(meter.counters.malformed, code);
    if (isPcapng(capture)) {
      const reader = new PcapngReader((...packet) => meter.addSlice(...packet), fault);
      for (const piece of this.#pieces(capture)) reader.push(piece);
      reader.end();
      return [...records, ...meter.finish()];
    }
    const reader = new PcapCapture(meter, fault);
    for (const piece of this.#pieces(capture)) {
      reader.room.set(piece);
      if (!collect(reader.take(piece.length), records)) break;
    }
    reader.end();
    return [...records, ...meter.finish()];
  }

  #readByTwin(capture: Bytes): FlowRecord[] {
    const twin = this.#twin;
    const fault = (code: string) => countName(twin.counters.malformed, code);
    const sink = (bytes: Uint8Array, from: number, to: number, type: number, timeMs: number, wire: number) =>
      twin.addSlice(bytes.slice(from, to), 0, to - from, type, timeMs, wire);
    const reader = isPcapng(capture) ? new PcapngReader(sink, fault) : new PcapReader(sink, fault);
    reader.push(capture);
    reader.end();
    return twin.finish();
  }

  *#pieces(capture: Bytes): Generator<Bytes> {
    const size = this.#random.chance(0.5) ? 1 << 18 : this.#random.integer(1, 4_000);
    for (let at = 0; at < capture.length; at += size) yield capture.slice(at, at + size);
  }
}

/** Small, so that eviction and the limits take part. */
const OPTIONS = { maxFlows: 500, payloadEntropy: true, maxNamedFlows: 50 };

function collect(batches: Generator<FlowBatch, boolean>, records: FlowRecord[]): boolean {
  for (;;) {
    const step = batches.next();
    if (step.done === true) return step.value;
    records.push(...step.value.records());
  }
}

export interface FloodResult {
  readonly handedOut: number;
  readonly evicted: number;
  readonly limited: number;
  readonly mostOpen: number;
  /** Of the established connections, those that were handed out whole and not evicted. */
  readonly survived: number;
}

/**
 * SYNs from `attempts` different sources at 500,000 a second, while 1,000 connections that were established before stand
 * open and silent.
 */
export function synFlood(meter: FlowMeter, attempts: number): FloodResult {
  const established = 1_000;
  let timeMs = 1.7e12;
  let [handedOut, survived, mostOpen] = [0, 0, 0];
  const take = (batches: Iterable<FlowBatch>) => {
    for (const batch of batches) {
      handedOut += batch.rows;
      const packets = batch.column('backward_packets');
      for (let row = 0; row < batch.rows; row++) {
        if (packets[row] === 1 && batch.record(row).endReason !== 'evicted') survived++;
      }
    }
  };
  const send = (packet: Uint8Array, address: number, offset: number) => {
    new DataView(packet.buffer).setUint32(offset, address);
    meter.addSlice(packet, 0, packet.length, 101, timeMs, packet.length);
  };
  const [client, server] = ['10.0.0.1', '192.0.2.1'];
  const syn = ipv4(client, server, 6, tcp(1024, 443, 2, { seq: 9 }));
  const synAck = ipv4(server, client, 6, tcp(443, 1024, 18, { seq: 5, ack: 10 }));
  const ack = ipv4(client, server, 6, tcp(1024, 443, 16, { seq: 10, ack: 6 }));
  for (let i = 0; i < established; i++) {
    send(syn, 0x0b000000 + i, 12);
    send(synAck, 0x0b000000 + i, 16);
    send(ack, 0x0b000000 + i, 12);
  }
  const attempt = ipv4(client, server, 6, tcp(2048, 443, 2, { seq: 9 }));
  for (let i = 0; i < attempts; i++) {
    timeMs += 0.002;
    // An odd factor: no source comes twice in 2^32.
    send(attempt, Math.imul(i, 2_654_435_761) >>> 0, 12);
    if (i % 10_000 !== 0) continue;
    mostOpen = Math.max(mostOpen, meter.openFlows);
    take(meter.batches());
  }
  meter.end();
  take(meter.batches());
  const { evicted, limits } = meter.counters;
  return { handedOut, evicted, limited: limits.flows ?? 0, mostOpen, survived };
}
