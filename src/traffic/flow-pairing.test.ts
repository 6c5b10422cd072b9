import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { newCounters } from './counters.ts';
import type { FlowRecord } from './flow.ts';
import { FlowPairing, type PairingOptions } from './flow-pairing.ts';

const NOTHING = { packets: 0, bytes: 0, payloadBytes: 0, tcpFlags: 0 };

function oneWay(
  from: string,
  to: string,
  [startMs, endMs]: readonly [number, number],
  changes: Partial<FlowRecord> = {},
) {
  const [sourceAddress = '', sourcePort = '0'] = from.split(' ');
  const [destinationAddress = '', destinationPort = '0'] = to.split(' ');
  return {
    sourceKind: 'netflow',
    protocol: 17,
    sourceAddress,
    destinationAddress,
    sourcePort: Number(sourcePort),
    destinationPort: Number(destinationPort),
    startMs,
    endMs,
    forward: { packets: 2, bytes: 200, payloadBytes: Number.NaN, tcpFlags: 0 },
    backward: NOTHING,
    state: 'S0',
    endReason: 'reported',
    ...changes,
  } satisfies FlowRecord;
}

function pair(flows: readonly FlowRecord[], options: Partial<PairingOptions> = {}) {
  const counters = newCounters();
  const pairing = new FlowPairing(options, counters);
  for (const flow of flows) pairing.add(flow, 'e', 0);
  return { pairing, counters, out: pairing.finish() };
}

const tcp = (tcpFlags: number) => ({
  protocol: 6,
  forward: { packets: 1, bytes: 40, payloadBytes: Number.NaN, tcpFlags },
});

test('joins two directions; the one that began earlier is the initiator', () => {
  const { out } = pair([oneWay('b 53', 'a 9', [15, 20]), oneWay('a 9', 'b 53', [10, 12])]);
  assert.deepEqual(
    out.map((flow) => [flow.sourceAddress, flow.startMs, flow.endMs, flow.state, flow.backward.packets]),
    [['a', 10, 20, 'SF', 2]],
  );
});

test('takes the side whose SYN was not answered with one as the initiator, whatever the clocks say', () => {
  const { out } = pair([
    oneWay('b 80', 'a 9', [10, 10], tcp(0x14)),
    oneWay('a 9', 'b 80', [11, 11], tcp(0x02)),
  ]);
  assert.deepEqual([out[0]?.sourceAddress, out[0]?.state], ['a', 'REJ']);
  const tie = pair([oneWay('b 80', 'a 9999', [10, 10]), oneWay('a 9999', 'b 80', [10, 10])]);
  assert.equal(tie.out[0]?.sourceAddress, 'a');
});

test('joins an echo with its reply, and no error with what it is about', () => {
  const icmp = (type: number) => ({ protocol: 1, sourcePort: type, destinationPort: 0 });
  const { out } = pair([
    oneWay('b', 'a', [10, 10], icmp(0)),
    oneWay('a', 'b', [10, 10], icmp(8)),
    oneWay('b', 'a', [11, 11], icmp(3)),
  ]);
  assert.deepEqual(
    out.map((flow) => [flow.sourceAddress, flow.sourcePort, flow.state]),
    [
      ['a', 8, 'SF'],
      ['b', 3, 'S0'],
    ],
  );
});

test('keeps apart what lies too far apart, and what several exporters saw', () => {
  assert.equal(pair([oneWay('a 1', 'b 2', [0, 10]), oneWay('b 2', 'a 1', [5011, 5020])]).out.length, 2);
  const pairing = new FlowPairing({}, newCounters());
  pairing.add(oneWay('a 1', 'b 2', [0, 10]), 'one', 0);
  pairing.add(oneWay('b 2', 'a 1', [0, 10]), 'two', 0);
  assert.equal(pairing.finish().length, 2);
});

test('joins part by part what an active timeout cut on both sides', () => {
  const { out } = pair([
    oneWay('a 1', 'b 2', [0, 60_000]),
    oneWay('b 2', 'a 1', [1, 60_000]),
    oneWay('a 1', 'b 2', [60_100, 90_000]),
    oneWay('b 2', 'a 1', [60_101, 90_000]),
  ]);
  assert.deepEqual(
    out.map((flow) => [flow.startMs, flow.state]),
    [
      [0, 'SF'],
      [60_100, 'SF'],
    ],
  );
});

test('lets go what waited long enough, and the oldest when it is full', () => {
  const counters = newCounters();
  const pairing = new FlowPairing({ waitMs: 100, maxWaiting: 2 }, counters);
  pairing.add(oneWay('a 1', 'b 2', [0, 1]), 'e', 0);
  pairing.advance(99);
  assert.deepEqual(pairing.drain(), []);
  pairing.advance(100);
  assert.equal(pairing.drain().length, 1);
  for (const port of [1, 2, 3]) pairing.add(oneWay(`a ${port}`, 'b 2', [port, port]), 'e', 200);
  assert.equal(pairing.size, 2);
  assert.deepEqual(counters.limits, { pairing: 1 });
  assert.deepEqual(
    pairing.drain().map((flow) => flow.sourcePort),
    [1],
  );
});

test('hands out every packet that came in, in any order, within its bound', () => {
  const record = fc
    .tuple(fc.nat(3), fc.nat(3), fc.nat(20_000), fc.nat(5000), fc.integer({ min: 1, max: 9 }), fc.nat(31))
    .map(([from, to, start, length, packets, tcpFlags]) =>
      oneWay(`${from} ${from}`, `${to} ${to}`, [start, start + length], {
        protocol: 6,
        forward: { packets, bytes: packets * 40, payloadBytes: Number.NaN, tcpFlags },
      }),
    );
  fc.assert(
    fc.property(fc.array(record, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (flows, maxWaiting) => {
      const pairing = new FlowPairing({ maxWaiting, waitMs: 5 }, newCounters());
      const out: FlowRecord[] = [];
      for (const [now, flow] of flows.entries()) {
        pairing.add(flow, 'e', now);
        assert.ok(pairing.size <= maxWaiting);
        if (now % 7 === 0) pairing.advance(now);
        out.push(...pairing.drain());
      }
      out.push(...pairing.finish());
      const packets = (list: readonly FlowRecord[]) =>
        list.reduce((sum, flow) => sum + flow.forward.packets + flow.backward.packets, 0);
      assert.equal(packets(out), packets(flows));
      assert.equal(pairing.size, 0);
    }),
    { numRuns: 400 },
  );
});
