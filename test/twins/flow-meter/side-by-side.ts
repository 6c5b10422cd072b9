import assert from 'node:assert/strict';
import { type FlowRecord, MEASURES, type SourceCounters } from '../../../src/traffic/index.ts';
import type { MakeMeter, Meter, TwinOptions } from './meter.ts';
import { NaiveFlowMeter } from './naive-flow-meter.ts';

/** Bytes around a packet that no meter may look at. */
const MARGIN = 64;

/**
 * A meter and the naive twin, fed alike. The twin gets each packet in an array of its own, so that it cannot look
 * beyond; the meter gets it between bytes that change from packet to packet. Equal results mean that neither what
 * stands around a packet nor what stood there before is read.
 */
export class SideBySide {
  readonly #meter: Meter;
  readonly #twin: NaiveFlowMeter;
  readonly #buffer = new Uint8Array((1 << 18) + 2 * MARGIN);
  #noise = 1;
  packets = 0;
  flows = 0;

  constructor(make: MakeMeter, options: Partial<TwinOptions> = {}) {
    this.#meter = make(options);
    this.#twin = new NaiveFlowMeter(options);
  }

  add(packet: Uint8Array, linkType: number, timeMs: number, wireLength: number): void {
    const start = this.#surround(packet);
    const end = start + packet.length;
    this.#meter.addSlice(this.#buffer, start, end, linkType, timeMs, wireLength);
    this.#twin.addSlice(packet.slice(), 0, packet.length, linkType, timeMs, wireLength);
    this.packets++;
  }

  advance(nowMs: number): void {
    this.#meter.advance(nowMs);
    this.#twin.advance(nowMs);
  }

  /** Throws where what was handed out so far, or what is open, differs. */
  check(): void {
    this.#compare(this.#meter.drain(), this.#twin.drain());
    assert.equal(this.#meter.openFlows, this.#twin.openFlows, 'open flows');
  }

  /** Throws where the rest, or a counter, differs. */
  finish(): void {
    this.#compare(this.#meter.finish(), this.#twin.finish());
    assert.deepEqual(plainCounters(this.#meter.counters), plainCounters(this.#twin.counters));
  }

  #compare(ours: readonly FlowRecord[], theirs: readonly FlowRecord[]): void {
    const rows = Math.max(ours.length, theirs.length);
    for (let i = 0; i < rows; i++) {
      if (recordLine(ours[i]) !== recordLine(theirs[i])) assert.deepEqual(ours[i], theirs[i], `flow ${i}`);
    }
    this.flows += rows;
  }

  /** Copies a packet between bytes of noise; returns where it starts. */
  #surround(packet: Uint8Array): number {
    this.#noise = (Math.imul(this.#noise, 1_664_525) + 1_013_904_223) >>> 0;
    const start = MARGIN - (this.#noise >>> 29);
    this.#buffer.fill(this.#noise >>> 24, 0, start);
    this.#buffer.set(packet, start);
    this.#buffer.fill(this.#noise >>> 16, start + packet.length, start + packet.length + MARGIN);
    return start;
  }
}

/** Everything a record says, as text: quick to compare. */
export function recordLine(record: FlowRecord | undefined): string {
  if (record === undefined) return '';
  const { forward, backward, measures, names, tunnel } = record;
  return [
    record.protocol,
    record.sourceAddress,
    record.sourcePort,
    record.destinationAddress,
    record.destinationPort,
    record.startMs,
    record.endMs,
    ...[forward, backward].flatMap((side) => [side.packets, side.bytes, side.payloadBytes, side.tcpFlags]),
    record.state,
    record.endReason,
    record.handshakeSeen,
    tunnel?.kind,
    tunnel?.id,
    names?.sni,
    names?.ja4,
    names?.dns?.join(' '),
    ...MEASURES.map((name) => measures?.[name]),
  ].join('|');
}

/** Counters without the order of their names. */
export function plainCounters(counters: SourceCounters): unknown {
  const sorted = (table: Record<string, number>) => Object.entries(table).sort();
  const { packets, bytes, flows, fragments, evicted } = counters;
  const tables = [counters.ignored, counters.malformed, counters.limits].map(sorted);
  return { packets, bytes, flows, fragments, evicted, tables };
}
