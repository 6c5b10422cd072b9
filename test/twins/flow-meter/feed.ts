import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord, Measure } from '../../../src/traffic/index.ts';
import { LINK } from '../../../src/traffic/link-types.ts';
import { FLAG, ipv4, tcp, udp } from '../../support/packets.ts';
import type { MakeMeter, Meter, TwinOptions } from './meter.ts';
import { METERS } from './meters.ts';

export const A = '10.0.0.1';
export const B = '10.0.0.2';

/** A packet of raw IP and its time, ms. */
export type Timed = readonly [number, Uint8Array];

interface Segment {
  readonly seq?: number;
  readonly ack?: number;
  readonly payload?: number;
}

/** Segments of one connection, from A to B and back. */
export const out = (flags: number, segment: Segment = {}) => ipv4(A, B, 6, tcp(40_000, 80, flags, segment));
export const back = (flags: number, segment: Segment = {}) => ipv4(B, A, 6, tcp(80, 40_000, flags, segment));
export const query = (port: number) => ipv4(A, B, 17, udp(port, 9_000, 20));

export const HANDSHAKE: readonly Timed[] = [
  [0, out(FLAG.syn)],
  [10, back(FLAG.synAck, { seq: 500, ack: 2 })],
  [20, out(FLAG.ack, { seq: 2, ack: 501 })],
];

/** A test that runs over the kernel and the twin. */
export function testMeters(name: string, run: (make: MakeMeter) => void): void {
  for (const [meter, make] of METERS) test(`${name} (${meter})`, () => run(make));
}

export function add(meter: Meter, timeMs: number, packet: Uint8Array, linkType: number = LINK.raw): void {
  meter.addSlice(packet, 0, packet.length, linkType, timeMs, packet.length);
}

/** Every flow of some packets. */
export function flowsOf(
  make: MakeMeter,
  packets: readonly Timed[],
  options: Partial<TwinOptions> = {},
): FlowRecord[] {
  const meter = make(options);
  for (const [timeMs, packet] of packets) add(meter, timeMs, packet);
  return meter.finish();
}

export function only(flows: readonly FlowRecord[]): FlowRecord {
  assert.equal(flows.length, 1);
  return flows[0] as FlowRecord;
}

/** Some measures of a flow, in the order asked. */
export function measuresOf(flow: FlowRecord, ...names: readonly Measure[]): (number | undefined)[] {
  return names.map((name) => flow.measures?.[name]);
}
