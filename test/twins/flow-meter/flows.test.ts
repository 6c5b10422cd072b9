import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SeededRandom } from '../../../src/base/index.ts';
import type { FlowRecord } from '../../../src/traffic/index.ts';
import { LINK } from '../../../src/traffic/link-types.ts';
import { FLAG, icmp, ipv4, ipv6, tcp, udp } from '../../support/packets.ts';
import { A, add, B, back, flowsOf, HANDSHAKE, only, out, query, type Timed, testMeters } from './feed.ts';

testMeters('meters a whole TCP connection as one flow with both directions', (make) => {
  const flow = only(
    flowsOf(make, [
      ...HANDSHAKE,
      [30, out(FLAG.ack, { seq: 2, payload: 100 })],
      [40, back(FLAG.ack, { seq: 501, payload: 1000 })],
      [50, out(FLAG.finAck, { seq: 102 })],
      [60, back(FLAG.finAck, { seq: 1501 })],
      [70, out(FLAG.ack, { seq: 103 })],
    ]),
  );
  const { measures, ...rest } = flow;
  assert.ok(measures);
  assert.deepEqual(rest, {
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

testMeters('names how connections went as Zeek does', (make) => {
  for (const [state, packets] of STATES) {
    const flow = only(
      flowsOf(
        make,
        packets.map((packet, i) => [i, packet]),
      ),
    );
    assert.equal(flow.state, state);
    assert.deepEqual([flow.sourceAddress, flow.destinationPort], [A, 80]);
  }
});

testMeters('sees a handshake only where the initiator acknowledged the number of the SYN+ACK', (make) => {
  const blind: readonly Timed[] = [...HANDSHAKE.slice(0, 2), [20, out(FLAG.ack, { ack: 999 })]];
  assert.equal(only(flowsOf(make, blind)).handshakeSeen, false);
  assert.equal(only(flowsOf(make, HANDSHAKE)).handshakeSeen, true);
  assert.equal(only(flowsOf(make, HANDSHAKE.slice(0, 2))).handshakeSeen, false);
});

testMeters('opens a new flow for a SYN after the end, and none for trailing segments', (make) => {
  const flows = flowsOf(make, [
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
  const both: readonly Timed[] = [
    [0, out(FLAG.rst)],
    [1, out(FLAG.syn)],
  ];
  assert.equal(only(flowsOf(make, both, { splitAtTcpEnd: false })).forward.packets, 2);
});

testMeters('pairs UDP, ICMP echo and ICMPv6 neighbour messages in both directions', (make) => {
  const flow = only(
    flowsOf(make, [
      [0, query(1000)],
      [5, ipv4(B, A, 17, udp(9_000, 1000, 300))],
    ]),
  );
  assert.deepEqual([flow.state, flow.sourcePort, flow.backward.payloadBytes], ['SF', 1000, 300]);
  const echo = only(
    flowsOf(make, [
      [0, ipv4(A, B, 1, icmp(8, 0))],
      [1, ipv4(B, A, 1, icmp(0, 0))],
    ]),
  );
  assert.deepEqual([echo.state, echo.sourcePort, echo.destinationPort], ['SF', 8, 0]);
  const reply = only(flowsOf(make, [[0, ipv4(B, A, 1, icmp(0, 0))]]));
  assert.deepEqual([reply.state, reply.sourceAddress, reply.sourcePort], ['S0', B, 0]);
  const neighbour = only(
    flowsOf(make, [
      [0, ipv6('fe80::1', 'fe80::2', 58, icmp(135, 0, 16))],
      [1, ipv6('fe80::2', 'fe80::1', 58, icmp(136, 0, 16))],
    ]),
  );
  assert.deepEqual([neighbour.state, neighbour.sourceAddress, neighbour.sourcePort], ['SF', 'fe80::1', 135]);
});

testMeters('hands out at the tick what has expired, in the order it ended', (make) => {
  const meter = make({ idleTimeoutMs: 30_000, attemptTimeoutMs: 5_000 });
  add(meter, 0, query(1));
  add(meter, 1_000, out(FLAG.syn));
  add(meter, 5_999, query(2));
  assert.deepEqual(meter.drain(), []);
  add(meter, 6_000, query(3));
  assert.deepEqual(
    meter.drain().map((flow) => [flow.state, flow.endReason]),
    [['S0', 'idle']],
  );
  add(meter, 40_000, query(1));
  assert.deepEqual(
    meter.drain().map((flow) => flow.sourcePort),
    [1, 2, 3],
  );
  assert.deepEqual(
    meter.finish().map((flow) => [flow.sourcePort, flow.startMs]),
    [[1, 40_000]],
  );
  assert.equal(meter.openFlows, 0);
});

testMeters('ends a flow at its deadline though the tick comes later', (make) => {
  const meter = make({ idleTimeoutMs: 300 });
  add(meter, 0, query(1));
  add(meter, 100, query(2));
  add(meter, 399, query(2));
  add(meter, 699, query(2));
  assert.equal(meter.drain().length, 0, 'no tick yet');
  assert.deepEqual(
    meter.finish().map((flow) => [flow.sourcePort, flow.startMs, flow.endMs, flow.endReason]),
    [
      [1, 0, 0, 'idle'],
      [2, 100, 399, 'idle'],
      [2, 699, 699, 'end-of-source'],
    ],
  );
});

testMeters('moves time without packets', (make) => {
  const meter = make({ idleTimeoutMs: 1_500 });
  add(meter, 1e12, query(1));
  meter.advance(1e12 + 1_499);
  assert.equal(meter.drain().length, 0);
  meter.advance(1e12 + 2_000);
  assert.deepEqual(
    meter.drain().map((flow) => flow.endReason),
    ['idle'],
  );
  meter.advance(Number.NaN);
  meter.advance(0);
  assert.deepEqual(meter.finish(), []);
});

testMeters('cuts a long flow at the active timeout and keeps its direction and state', (make) => {
  const flows = flowsOf(
    make,
    [
      ...HANDSHAKE,
      [900, out(FLAG.ack, { seq: 2 })],
      [1000, back(FLAG.ack, { seq: 501 })],
      [1100, out(FLAG.ack, { seq: 2 })],
    ],
    { activeTimeoutMs: 1000 },
  );
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
  assert.equal(flows[1]?.measures?.first_length_1, -40);
});

testMeters('keeps at most maxFlows flows under a flood of 30,000, each packet once', (make) => {
  const meter = make({ maxFlows: 640 });
  const packet = ipv4(A, B, 17, udp(1, 2));
  const view = new DataView(packet.buffer);
  const addresses: string[] = [];
  for (let i = 0; i < 30_000; i++) {
    view.setUint32(12, i);
    add(meter, 1, packet);
    if (i % 1000 !== 0) continue;
    assert.ok(meter.openFlows <= 640);
    addresses.push(...meter.drain().map((flow) => flow.sourceAddress));
  }
  addresses.push(...meter.finish().map((flow) => flow.sourceAddress));
  assert.deepEqual(
    addresses,
    Array.from({ length: 30_000 }, (_, i) => `0.0.${i >>> 8}.${i & 255}`),
  );
  // Ten at a time, so that there is room for ten.
  assert.ok(meter.counters.evicted >= 30_000 - 640 && meter.counters.evicted <= 30_000 - 630);
  assert.equal(meter.counters.limits.flows, meter.counters.evicted);
  assert.equal(meter.counters.flows, 30_000);
});

testMeters('evicts attempts that nobody answered before anything else', (make) => {
  const syn = (port: number) => ipv4(A, B, 6, tcp(port, 80, FLAG.syn));
  const flows = flowsOf(
    make,
    [
      [0, query(1)],
      [1, syn(10)],
      [2, query(2)],
      [3, syn(11)],
      [4, query(3)],
    ],
    {
      maxFlows: 3,
    },
  );
  assert.deepEqual(
    flows.map((flow) => [flow.sourcePort, flow.endReason]),
    [
      [10, 'evicted'],
      [11, 'evicted'],
      [1, 'end-of-source'],
      [2, 'end-of-source'],
      [3, 'end-of-source'],
    ],
  );
});

testMeters('does not expire flows when time goes back, and goes on from there', (make) => {
  const meter = make({ idleTimeoutMs: 1000 });
  add(meter, 1e9, query(1));
  add(meter, 0, query(1));
  add(meter, 500, query(1));
  assert.equal(meter.drain().length, 0);
  add(meter, 2600, query(2));
  assert.deepEqual(
    meter.drain().map((flow) => flow.sourcePort),
    [1],
  );
  const late = make({ idleTimeoutMs: 1000 });
  for (let i = 0; i < 5000; i++) add(late, i % 2 === 0 ? 1000 : 900, query(1));
  assert.equal(late.finish().length, 1, 'late packets do not make time run faster');
});

testMeters('survives times that jump, stand at 0, or are no numbers', (make) => {
  const times = [0, 0, Number.NaN, 1e300, -1e300, Number.POSITIVE_INFINITY, 5, 1.8e16, 0];
  const flows = flowsOf(
    make,
    times.map((time) => [time, query(1)]),
  );
  assert.equal(
    flows.reduce((sum, flow) => sum + flow.forward.packets, 0),
    times.length,
  );
  for (const flow of flows) {
    assert.ok(flow.startMs <= flow.endMs);
    for (const value of Object.values(flow.measures ?? {})) assert.ok(Number.isFinite(value));
  }
  assert.deepEqual(flowsOf(make, [[Number.NaN, query(1)]])[0]?.startMs, 0);
});

testMeters('counts what it does not meter', (make) => {
  const meter = make();
  add(meter, 0, new Uint8Array(4), LINK.ethernet);
  add(meter, 0, new Uint8Array(60), 105);
  add(meter, 0, ipv4(A, B, 17, udp(1, 2), { fragment: 5 }));
  meter.finish();
  const { packets, bytes, flows, fragments, evicted, ignored, malformed } = meter.counters;
  assert.deepEqual([packets, bytes, flows, fragments, evicted], [3, 92, 0, 1, 0]);
  assert.deepEqual(ignored, { 'link-type-ieee802.11': 1 });
  assert.deepEqual(malformed, { 'truncated-ethernet-header': 1 });
});

/** The same meter said again for UDP alone: a map keyed by text, and a look at every flow for every packet. */
function udpMeter(packets: readonly (readonly [number, string, string, number, number])[], idleMs: number) {
  const open = new Map<string, { from: string; last: number; start: number; ahead: number; back: number }>();
  const ended: { at: number; text: string }[] = [];
  const end = (key: string, at: number) => {
    const flow = open.get(key);
    if (flow === undefined) return;
    open.delete(key);
    ended.push({ at, text: `${flow.from}|${key}|${flow.start}|${flow.last}|${flow.ahead}|${flow.back}` });
  };
  for (const [time, source, destination, sourcePort, destinationPort] of packets) {
    const byAge = [...open].sort(([, a], [, b]) => a.last - b.last);
    for (const [key, flow] of byAge) if (time - flow.last >= idleMs) end(key, flow.last + idleMs);
    const from = `${source}:${sourcePort}`;
    const key = [from, `${destination}:${destinationPort}`].sort().join('-');
    const flow = open.get(key) ?? { from, start: time, last: time, ahead: 0, back: 0 };
    open.set(key, flow);
    flow.last = time;
    if (flow.from === from) flow.ahead++;
    else flow.back++;
  }
  const sorted = ended.sort((a, b) => a.at - b.at).map(({ text }) => text);
  const rest = [...open].sort(([, a], [, b]) => a.last - b.last);
  for (const [key, flow] of rest) end(key, flow.last);
  return [...sorted, ...ended.slice(sorted.length).map(({ text }) => text)];
}

testMeters('equals a meter of thirty lines on random UDP traffic, flow by flow and in order', (make) => {
  const random = new SeededRandom(7);
  for (let round = 0; round < 8; round++) {
    let time = 0;
    const packets = Array.from({ length: 1500 }, () => {
      time += random.integer(1, 40);
      const [one, two] = [random.integer(1, 6), random.integer(7, 9)];
      const [a, b] = random.chance(0.5) ? [one, two] : [two, one];
      return [time, `10.0.0.${a}`, `10.0.0.${b}`, a % 3, b % 3] as const;
    });
    const ours = flowsOf(
      make,
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
    assert.deepEqual(ours, udpMeter(packets, 500));
  }
});

testMeters('loses no packet, whatever the packets, the times and the options', (make) => {
  const packet = fc.record({
    time: fc.oneof(fc.nat(100_000), fc.double()),
    host: fc.nat(5),
    port: fc.nat(3),
    flags: fc.nat(63),
    isBack: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (packets, maxFlows) => {
      const meter = make({ maxFlows, idleTimeoutMs: 500, activeTimeoutMs: 2000, tcpLingerMs: 50 });
      const handed: FlowRecord[] = [];
      for (const { time, host, port, flags, isBack } of packets) {
        const [source, destination] = isBack ? [B, `10.1.0.${host}`] : [`10.1.0.${host}`, B];
        add(meter, time, ipv4(source, destination, 6, isBack ? tcp(80, port, flags) : tcp(port, 80, flags)));
        assert.ok(meter.openFlows <= maxFlows);
        handed.push(...meter.drain());
      }
      handed.push(...meter.finish());
      const sum = handed.reduce((total, flow) => total + flow.forward.packets + flow.backward.packets, 0);
      assert.equal(sum, packets.length);
    }),
    { numRuns: 60 },
  );
});

testMeters('hands out what can never expire at the end', (make) => {
  const never = Number.POSITIVE_INFINITY;
  const options = {
    idleTimeoutMs: never,
    attemptTimeoutMs: never,
    activeTimeoutMs: never,
    tcpLingerMs: never,
  };
  const flow = only(flowsOf(make, [...HANDSHAKE, [1e12, back(FLAG.rst)]], options));
  assert.deepEqual([flow.forward.packets, flow.backward.packets, flow.endReason], [2, 2, 'tcp-end']);
});
