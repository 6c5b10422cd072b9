import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLAG, icmp, ipv4, ipv6, tcp, udp } from '../../test/support/packets.ts';
import { SeededRandom } from '../base/index.ts';
import { TrafficError } from './errors.ts';
import type { FlowRecord } from './flow.ts';
import { FlowMeter, type MeterOptions } from './flow-meter.ts';
import { LINK } from './link-types.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';

/** Feeds [time, packet] pairs as raw IP; returns every flow. */
function meter(packets: readonly (readonly [number, Uint8Array])[], options: Partial<MeterOptions> = {}) {
  const flows = new FlowMeter(options);
  for (const [time, packet] of packets) flows.add(packet, LINK.raw, time, packet.length);
  return flows.finish();
}

interface Segment {
  readonly seq?: number;
  readonly ack?: number;
  readonly payload?: number;
}
const out = (flags: number, segment: Segment = {}) => ipv4(A, B, 6, tcp(40_000, 80, flags, segment));
const back = (flags: number, segment: Segment = {}) => ipv4(B, A, 6, tcp(80, 40_000, flags, segment));
const query = (port: number) => ipv4(A, B, 17, udp(port, 53, 20));

function only(flows: readonly FlowRecord[]): FlowRecord {
  assert.equal(flows.length, 1);
  return flows[0] as FlowRecord;
}

const HANDSHAKE = [
  [0, out(FLAG.syn)],
  [10, back(FLAG.synAck, { seq: 500, ack: 2 })],
  [20, out(FLAG.ack, { ack: 501 })],
] as const;

test('meters a whole TCP connection as one flow with both directions', () => {
  const flow = only(
    meter([
      ...HANDSHAKE,
      [30, out(FLAG.ack, { payload: 100 })],
      [40, back(FLAG.ack, { payload: 1000 })],
      [50, out(FLAG.finAck)],
      [60, back(FLAG.finAck)],
      [70, out(FLAG.ack)],
    ]),
  );
  assert.deepEqual(flow, {
    sourceKind: 'packets',
    protocol: 6,
    sourceAddress: A,
    destinationAddress: B,
    sourcePort: 40_000,
    destinationPort: 80,
    startMs: 0,
    endMs: 70,
    forward: { packets: 5, bytes: 300, payloadBytes: 100, tcpFlags: 19 },
    backward: { packets: 3, bytes: 1120, payloadBytes: 1000, tcpFlags: 19 },
    state: 'SF',
    endReason: 'tcp-end',
    handshakeSeen: true,
  });
});

const STATES: readonly (readonly [string, readonly Uint8Array[]])[] = [
  ['S0', [out(FLAG.syn), out(FLAG.syn)]],
  ['S1', [out(FLAG.syn), back(FLAG.synAck), out(FLAG.ack)]],
  ['SF', [out(FLAG.syn), back(FLAG.synAck), back(FLAG.finAck), out(FLAG.finAck)]],
  ['SF', [out(FLAG.syn), back(FLAG.synAck), back(FLAG.finAck), out(FLAG.finAck), out(FLAG.rst)]],
  ['REJ', [out(FLAG.syn), back(FLAG.rst)]],
  ['S2', [out(FLAG.syn), back(FLAG.synAck), out(FLAG.finAck)]],
  ['S3', [out(FLAG.syn), back(FLAG.synAck), back(FLAG.finAck)]],
  ['RSTO', [out(FLAG.syn), back(FLAG.synAck), out(FLAG.rst)]],
  ['RSTO', [out(FLAG.syn), back(FLAG.synAck), out(FLAG.rst), back(FLAG.rst)]],
  ['RSTR', [out(FLAG.syn), back(FLAG.synAck), back(FLAG.rst)]],
  ['RSTOS0', [out(FLAG.syn), out(FLAG.rst)]],
  ['RSTRH', [back(FLAG.synAck), back(FLAG.rst)]],
  ['SH', [out(FLAG.syn), out(FLAG.finAck)]],
  ['SHR', [back(FLAG.synAck), back(FLAG.finAck)]],
  ['OTH', [out(FLAG.ack), back(FLAG.ack)]],
  ['S1', [out(FLAG.syn), back(FLAG.syn), out(FLAG.synAck), back(FLAG.synAck)]],
];

for (const [state, packets] of STATES) {
  test(`names ${packets.length} segments ${state}, as Zeek does`, () => {
    const flow = only(meter(packets.map((packet, i) => [i, packet])));
    assert.equal(flow.state, state);
    assert.deepEqual([flow.sourceAddress, flow.destinationPort], [A, 80]);
  });
}

test('sees a handshake only where the initiator acknowledged the number of the SYN+ACK', () => {
  const blind = [...HANDSHAKE.slice(0, 2), [20, out(FLAG.ack, { ack: 999 })]] as const;
  assert.equal(only(meter(blind)).handshakeSeen, false);
  assert.equal(only(meter(HANDSHAKE)).handshakeSeen, true);
  assert.equal(only(meter(HANDSHAKE.slice(0, 2))).handshakeSeen, false);
});

test('does not end a flow at one FIN', () => {
  const flow = only(meter([...HANDSHAKE, [30, out(FLAG.finAck)], [10_000, back(FLAG.ack, { payload: 5 })]]));
  assert.deepEqual([flow.state, flow.endMs, flow.endReason], ['S2', 10_000, 'end-of-source']);
});

test('opens a new flow for a SYN after the end, and none for trailing segments', () => {
  const flows = meter([
    [0, out(FLAG.syn)],
    [1, back(FLAG.rst)],
    [2, back(FLAG.ack)],
    [3, out(FLAG.syn)],
    [4, back(FLAG.rst)],
  ]);
  assert.deepEqual(
    flows.map((flow) => [flow.state, flow.forward.packets, flow.backward.packets, flow.endReason]),
    [
      ['REJ', 1, 2, 'tcp-end'],
      ['REJ', 1, 1, 'tcp-end'],
    ],
  );
  const whole = { splitAtTcpEnd: false };
  assert.equal(
    only(
      meter(
        [
          [0, out(FLAG.rst)],
          [1, out(FLAG.syn)],
        ],
        whole,
      ),
    ).forward.packets,
    2,
  );
});

test('pairs UDP, ICMP echo and ICMPv6 neighbour messages in both directions', () => {
  const flow = only(
    meter([
      [0, query(1000)],
      [5, ipv4(B, A, 17, udp(53, 1000, 300))],
    ]),
  );
  assert.deepEqual([flow.state, flow.sourcePort, flow.backward.payloadBytes], ['SF', 1000, 300]);
  const echo = only(
    meter([
      [0, ipv4(A, B, 1, icmp(8, 0))],
      [1, ipv4(B, A, 1, icmp(0, 0))],
    ]),
  );
  assert.deepEqual([echo.state, echo.sourcePort, echo.destinationPort], ['SF', 8, 0]);
  const reply = only(meter([[0, ipv4(B, A, 1, icmp(0, 0))]]));
  assert.deepEqual([reply.state, reply.sourceAddress, reply.sourcePort], ['S0', B, 0]);
  const neighbour = only(
    meter([
      [0, ipv6('fe80::1', 'fe80::2', 58, icmp(135, 0, 16))],
      [1, ipv6('fe80::2', 'fe80::1', 58, icmp(136, 0, 16))],
    ]),
  );
  assert.deepEqual([neighbour.state, neighbour.sourceAddress, neighbour.sourcePort], ['SF', 'fe80::1', 135]);
});

test('ends flows at idle and attempt timeouts in the order they expire', () => {
  const flows = new FlowMeter({ idleTimeoutMs: 30_000, attemptTimeoutMs: 5_000 });
  const feed = (time: number, packet: Uint8Array) => flows.add(packet, LINK.raw, time, packet.length);
  feed(0, query(1));
  feed(1_000, out(FLAG.syn));
  feed(5_999, query(2));
  assert.deepEqual(flows.drain(), []);
  feed(6_000, query(3));
  assert.deepEqual(
    flows.drain().map((flow) => [flow.state, flow.endReason]),
    [['S0', 'idle']],
  );
  feed(40_000, query(1));
  assert.deepEqual(
    flows.drain().map((flow) => flow.sourcePort),
    [1, 2, 3],
  );
  assert.deepEqual(
    flows.finish().map((flow) => [flow.sourcePort, flow.startMs]),
    [[1, 40_000]],
  );
  assert.equal(flows.openFlows, 0);
});

test('cuts a long flow at the active timeout and keeps its direction and state', () => {
  const flows = meter([...HANDSHAKE, [900, out(FLAG.ack)], [1000, back(FLAG.ack)], [1100, out(FLAG.ack)]], {
    activeTimeoutMs: 1000,
  });
  assert.deepEqual(
    flows.map((flow) => [
      flow.sourceAddress,
      flow.state,
      flow.forward.packets,
      flow.backward.packets,
      flow.endReason,
    ]),
    [
      [A, 'S1', 3, 1, 'active'],
      [A, 'S1', 1, 1, 'end-of-source'],
    ],
  );
  assert.equal(flows[1]?.handshakeSeen, true);
});

test('keeps at most maxFlows flows under a flood of 300,000, oldest out first, each packet once', () => {
  const flows = new FlowMeter({ maxFlows: 1000 });
  const packet = ipv4(A, B, 17, udp(1, 2));
  const view = new DataView(packet.buffer);
  let handed = 0;
  let expected = 0;
  for (let i = 0; i < 300_000; i++) {
    view.setUint32(12, i);
    flows.add(packet, LINK.raw, 1, packet.length);
    if (i % 1000 !== 0) continue;
    assert.ok(flows.openFlows <= 1000);
    for (const flow of flows.drain()) {
      assert.equal(flow.endReason, 'evicted');
      assert.equal(flow.sourceAddress, `0.${expected >>> 16}.${(expected >>> 8) & 255}.${expected & 255}`);
      expected++;
      handed++;
    }
  }
  handed += flows.finish().length;
  assert.equal(handed, 300_000);
  assert.equal(flows.counters.evicted, 299_000);
  assert.equal(flows.counters.flows, 300_000);
});

test('does not expire flows when time goes back, and goes on from there', () => {
  const flows = new FlowMeter({ idleTimeoutMs: 1000 });
  const feed = (time: number, port: number) => flows.add(query(port), LINK.raw, time, 48);
  feed(1e9, 1);
  feed(0, 1);
  feed(500, 1);
  assert.equal(flows.drain().length, 0);
  feed(1600, 2);
  assert.deepEqual(
    flows.drain().map((flow) => flow.sourcePort),
    [1],
  );
  const late = new FlowMeter({ idleTimeoutMs: 1000 });
  for (let i = 0; i < 5000; i++) late.add(query(1), LINK.raw, i % 2 === 0 ? 1000 : 900, 48);
  assert.equal(late.drain().length, 0, 'late packets do not make time run faster');
});

test('survives times that jump, stand at 0, or are no numbers', () => {
  const times = [0, 0, Number.NaN, 1e300, -1e300, Number.POSITIVE_INFINITY, 5, 1.8e16, 0];
  const flows = meter(times.map((time) => [time, query(1)]));
  assert.equal(
    flows.reduce((sum, flow) => sum + flow.forward.packets, 0),
    times.length,
  );
  for (const flow of flows) assert.ok(flow.startMs <= flow.endMs);
  assert.deepEqual(meter([[Number.NaN, query(1)]])[0]?.startMs, 0);
});

test('refuses options out of range', () => {
  for (const options of [
    { idleTimeoutMs: 0 },
    { activeTimeoutMs: Number.NaN },
    { maxFlows: 0 },
    { maxFlows: 1.5 },
  ]) {
    assert.throws(() => new FlowMeter(options), TrafficError);
  }
});

test('counts what it does not meter', () => {
  const flows = new FlowMeter();
  flows.add(new Uint8Array(4), LINK.ethernet, 0, 4);
  flows.add(new Uint8Array(60), 105, 0, 60);
  flows.add(ipv4(A, B, 17, udp(1, 2), { fragment: 5 }), LINK.raw, 0, 28);
  assert.deepEqual(flows.counters, {
    packets: 3,
    bytes: 92,
    flows: 0,
    fragments: 1,
    evicted: 0,
    ignored: { 'link-type-ieee802.11': 1 },
    malformed: { 'truncated-ethernet-header': 1 },
    limits: {},
  });
});

/** The same meter said slowly: a map keyed by text, and a look at every flow for every packet. */
function naiveMeter(packets: readonly (readonly [number, string, string, number, number])[], idleMs: number) {
  const open = new Map<
    string,
    { key: string; from: string; last: number; start: number; ahead: number; back: number }
  >();
  const ended: string[] = [];
  const text = (flow: {
    key: string;
    from: string;
    start: number;
    last: number;
    ahead: number;
    back: number;
  }) => `${flow.from}|${flow.key}|${flow.start}|${flow.last}|${flow.ahead}|${flow.back}`;
  for (const [time, source, destination, sourcePort, destinationPort] of packets) {
    const byAge = [...open.values()].sort((a, b) => a.last - b.last);
    for (const flow of byAge) {
      if (time - flow.last < idleMs) break;
      ended.push(text(flow));
      open.delete(flow.key);
    }
    const from = `${source}:${sourcePort}`;
    const key = [from, `${destination}:${destinationPort}`].sort().join('-');
    const flow = open.get(key) ?? { key, from, start: time, last: time, ahead: 0, back: 0 };
    open.delete(key);
    open.set(key, flow);
    flow.last = time;
    if (flow.from === from) flow.ahead++;
    else flow.back++;
  }
  return [...ended, ...[...open.values()].map(text)];
}

test('equals a naive meter on random UDP traffic, flow by flow and in order', () => {
  const random = new SeededRandom(7);
  for (let round = 0; round < 20; round++) {
    let time = 0;
    const packets = Array.from({ length: 2000 }, () => {
      time += random.integer(1, 40);
      const [one, two] = [random.integer(1, 6), random.integer(7, 9)];
      const [a, b] = random.chance(0.5) ? [one, two] : [two, one];
      return [time, `10.0.0.${a}`, `10.0.0.${b}`, a % 3, b % 3] as const;
    });
    const ours = meter(
      packets.map(([at, source, destination, from, to]) => [
        at,
        ipv4(source, destination, 17, udp(from, to)),
      ]),
      { idleTimeoutMs: 500, activeTimeoutMs: Number.POSITIVE_INFINITY },
    ).map((flow) => {
      const from = `${flow.sourceAddress}:${flow.sourcePort}`;
      const key = [from, `${flow.destinationAddress}:${flow.destinationPort}`].sort().join('-');
      return `${from}|${key}|${flow.startMs}|${flow.endMs}|${flow.forward.packets}|${flow.backward.packets}`;
    });
    assert.deepEqual(ours, naiveMeter(packets, 500));
  }
});

test('loses no packet, whatever the packets, the times and the options', () => {
  const packet = fc.record({
    time: fc.oneof(fc.nat(100_000), fc.double()),
    host: fc.nat(5),
    port: fc.nat(3),
    flags: fc.nat(63),
    isBack: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (packets, maxFlows) => {
      const flows = new FlowMeter({ maxFlows, idleTimeoutMs: 500, activeTimeoutMs: 2000, tcpLingerMs: 50 });
      const handed: FlowRecord[] = [];
      for (const { time, host, port, flags, isBack } of packets) {
        const [source, destination] = isBack ? [B, `10.1.0.${host}`] : [`10.1.0.${host}`, B];
        const bytes = ipv4(source, destination, 6, isBack ? tcp(80, port, flags) : tcp(port, 80, flags));
        flows.add(bytes, LINK.raw, time, bytes.length);
        assert.ok(flows.openFlows <= maxFlows);
        handed.push(...flows.drain());
      }
      handed.push(...flows.finish());
      const sum = handed.reduce((total, flow) => total + flow.forward.packets + flow.backward.packets, 0);
      assert.equal(sum, packets.length);
    }),
    { numRuns: 200 },
  );
});
