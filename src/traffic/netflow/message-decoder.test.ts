import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  dataSet,
  ipfixMessage,
  templateSet,
  u64,
  v5Message,
  v9Message,
} from '../../../test/support/netflow-messages.ts';
import { addressBytes, concat, u16, u32 } from '../../../test/support/packets.ts';
import { newCounters } from '../counters.ts';
import type { FlowRecord } from '../flow.ts';
import { flowFromRecord } from './flow-from-record.ts';
import { MessageDecoder } from './message-decoder.ts';
import type { NetflowLimits } from './netflow-limits.ts';

const SECONDS = 1_700_000_000;

/** A decoder, the flows that came out of it and a way to feed it. */
function collect(limits: Partial<NetflowLimits> = {}) {
  const counters = newCounters();
  const flows: FlowRecord[] = [];
  const decoder = new MessageDecoder(
    [5, 9, 10],
    (values, origin) => {
      const exported = flowFromRecord(values, origin);
      if (typeof exported === 'string')
        counters.malformed[exported] = (counters.malformed[exported] ?? 0) + 1;
      else flows.push(exported.flow);
    },
    counters,
    limits,
  );
  const feed = (bytes: Uint8Array, receivedMs = 0, session = '1') =>
    decoder.decode({ bytes, exporter: '192.0.2.1', session, receivedMs });
  return { counters, flows, decoder, feed };
}

const TUPLE = [
  [8, 4],
  [12, 4],
  [7, 2],
  [11, 2],
  [4, 1],
  [6, 1],
] as const;
const tuple = (from: string, to: string, flags = 0x1b) =>
  concat(addressBytes(from), addressBytes(to), u16(4000), u16(443), [6, flags]);

test('reads NetFlow v5, whose times are uptimes', () => {
  const { flows, feed } = collect();
  const record = { from: '10.0.0.1', to: '10.0.0.2', sourcePort: 4000, destinationPort: 80, protocol: 6 };
  feed(v5Message([{ ...record, packets: 3, bytes: 180, first: 8000, last: 9500, flags: 2 }]));
  // The uptime wrapped between the flow and the message.
  feed(
    v5Message([{ ...record, packets: 1, bytes: 60, first: 2 ** 32 - 500, last: 500 }], {
      sequence: 1,
      uptime: 1000,
    }),
  );
  assert.deepEqual(
    flows.map((flow) => [flow.startMs - SECONDS * 1000, flow.endMs - SECONDS * 1000, flow.forward.tcpFlags]),
    [
      [-2000, -500, 2],
      [-1500, -500, 0],
    ],
  );
  assert.equal(flows[0]?.state, 'S0');
  assert.deepEqual(
    [flows[0]?.sourceKind, flows[0]?.forward.bytes, flows[0]?.sourcePort],
    ['netflow', 180, 4000],
  );
  assert.equal(flows[0]?.measures?.forward_iat_mean_ms, 750);
});

test('reads NetFlow v9 of nProbe with both directions in one record', () => {
  const { flows, feed, counters } = collect();
  const fields = [
    ...TUPLE,
    [22, 4],
    [21, 4],
    [1, 4],
    [2, 4],
    [23, 4],
    [24, 4],
    [57_581, 4],
    [57_582, 4],
    [999, 3],
  ] as const;
  const record = concat(
    tuple('10.0.0.1', '10.0.0.2'),
    ...[8000, 9000, 500, 5, 7000, 6, 1, 2].map((value) => u32(value)),
    [1, 2, 3],
  );
  feed(v9Message([templateSet(9, 256, fields), dataSet(256, record, record, [0, 0])]));
  assert.equal(flows.length, 2);
  assert.deepEqual(
    [flows[0]?.forward.packets, flows[0]?.backward.packets, flows[0]?.backward.bytes, flows[0]?.state],
    [5, 6, 7000, 'OTH'],
  );
  assert.equal(flows[0]?.measures?.backward_retransmitted_packets, 2);
  assert.deepEqual(counters.malformed, {});
});

test('reads IPFIX with reverse elements, enterprise fields of variable length and IPv6', () => {
  const { flows, feed } = collect();
  const fields = [
    [27, 16],
    [28, 16],
    [4, 1],
    [182, 2],
    [183, 2],
    [152, 8],
    [153, 8],
    [1, 8],
    [2, 2],
    [6, 2],
    [1, 8, 29_305],
    [2, 2, 29_305],
    [6, 2, 29_305],
    [7, 65_535, 4_242],
    [188, 65_535, 35_632],
    [136, 1],
  ] as const;
  const name = Buffer.from('example.org');
  const record = concat(
    addressBytes('2001:db8::1'),
    addressBytes('2001:db8::2'),
    [6],
    u16(4000),
    u16(443),
    u64(SECONDS * 1000),
    u64(SECONDS * 1000 + 250),
    u64(400),
    u16(1),
    u16(0x002),
    u64(40),
    u16(1),
    u16(0x014),
    [255, 1, 4],
    new Uint8Array(260),
    [name.length],
    name,
    [3],
  );
  feed(ipfixMessage([templateSet(10, 400, fields), dataSet(400, record)]));
  const [flow] = flows;
  assert.deepEqual(
    [flow?.sourceKind, flow?.sourceAddress, flow?.state, flow?.endReason, flow?.names],
    ['ipfix', '2001:db8::1', 'REJ', 'tcp-end', { sni: 'example.org' }],
  );
  assert.deepEqual([flow?.startMs, flow?.endMs], [SECONDS * 1000, SECONDS * 1000 + 250]);
  assert.deepEqual([flow?.forward.bytes, flow?.backward.bytes], [400, 40]);
});

const SHORT = [...TUPLE, [1, 4], [2, 4]] as const;
const short = (from: string, bytes = 60) => concat(tuple(from, '10.0.0.9'), u32(bytes), u32(1));

test('keeps data that comes before its template, within a limit, and tells domains apart', () => {
  const { flows, feed, counters } = collect({ maxWaitingSets: 2 });
  const data = v9Message([dataSet(256, short('10.0.0.1')), dataSet(256, short('10.0.0.2'))]);
  feed(data);
  feed(v9Message([dataSet(256, short('10.0.0.3'))], { sequence: 1 }));
  assert.equal(flows.length, 0);
  feed(v9Message([templateSet(9, 256, SHORT)], { domain: 2 }));
  assert.equal(flows.length, 0);
  feed(v9Message([templateSet(9, 256, SHORT)], { sequence: 2 }));
  assert.deepEqual(
    flows.map((flow) => flow.sourceAddress),
    ['10.0.0.1', '10.0.0.2'],
  );
  assert.deepEqual(counters.ignored, { 'netflow-data-before-template': 3 });
  assert.deepEqual(counters.limits, { 'netflow-waiting-data': 1 });
});

test('forgets a template that is not sent again, and takes back one that is withdrawn', () => {
  const { flows, feed, counters } = collect({ templateLifetimeMs: 1000 });
  feed(ipfixMessage([templateSet(10, 256, SHORT)]), 0);
  feed(ipfixMessage([dataSet(256, short('10.0.0.1'))]), 1000);
  feed(ipfixMessage([dataSet(256, short('10.0.0.2'))]), 2500);
  assert.equal(flows.length, 1);
  assert.equal(counters.ignored['netflow-expired-template'], 1);
  feed(
    ipfixMessage([templateSet(10, 256, SHORT), templateSet(10, 256, []), dataSet(256, short('10.0.0.3'))]),
    2600,
  );
  assert.equal(flows.length, 2, 'the set that waited is read; the one after the withdrawal is not');
});

test('bounds templates, their fields and the domains', () => {
  const { feed, counters, decoder } = collect({
    maxDomains: 2,
    maxTemplates: 1,
    maxFields: 8,
    maxFieldsTotal: 12,
  });
  feed(v9Message([templateSet(9, 256, SHORT), templateSet(9, 257, SHORT)]));
  feed(v9Message([templateSet(9, 256, [...SHORT, [10, 4]])], { domain: 2 }));
  feed(v9Message([templateSet(9, 256, SHORT)], { domain: 2, sequence: 1 }));
  assert.deepEqual(counters.limits, { 'netflow-templates': 1, 'netflow-template-fields': 2 });
  feed(v9Message([templateSet(9, 256, SHORT)], { domain: 3 }));
  assert.deepEqual(Object.keys(counters.limits), [
    'netflow-templates',
    'netflow-template-fields',
    'netflow-domains',
  ]);
  assert.deepEqual(
    Array.from(decoder.domains, ({ id, templates }) => [id, templates.size]),
    [
      [2, 0],
      [3, 1],
    ],
  );
});

test('counts what sequence numbers say was lost, in the unit of each version', () => {
  const { feed, decoder, counters } = collect();
  const record = { from: '10.0.0.1', to: '10.0.0.2', sourcePort: 1, destinationPort: 2, protocol: 17 };
  const one = { ...record, packets: 1, bytes: 60, first: 0, last: 0 };
  for (const sequence of [0, 2, 9, 8]) feed(v5Message([one, one], { sequence }));
  for (const sequence of [2 ** 32 - 1, 0, 3]) feed(v9Message([], { sequence }));
  feed(
    ipfixMessage([templateSet(10, 256, SHORT), dataSet(256, short('10.0.0.1'), short('10.0.0.2'))], {
      sequence: 7,
    }),
  );
  feed(ipfixMessage([dataSet(256, short('10.0.0.1'))], { sequence: 9 }));
  feed(ipfixMessage([dataSet(256, short('10.0.0.1'))], { sequence: 14 }));
  assert.deepEqual(
    Array.from(decoder.domains, ({ version, lost }) => [version, lost]),
    [
      [5, 5],
      [9, 2],
      [10, 4],
    ],
  );
  assert.deepEqual(
    [counters.lost, counters.ignored],
    [{ 'netflow-sequence': 11 }, { 'netflow-late-message': 1 }],
  );
});

test('notes the sampling interval of options data and of a v5 header', () => {
  const { feed, decoder } = collect();
  feed(
    v9Message([
      templateSet(
        9,
        300,
        [
          [1, 4],
          [34, 4],
          [35, 1],
        ],
        1,
      ),
      dataSet(300, u32(1), u32(100), [2]),
    ]),
  );
  feed(
    ipfixMessage([
      templateSet(
        10,
        300,
        [
          [149, 4],
          [305, 4],
          [306, 4],
        ],
        1,
      ),
      dataSet(300, u32(1), u32(1), u32(63)),
    ]),
  );
  assert.deepEqual(
    Array.from(decoder.domains, ({ samplingInterval }) => samplingInterval),
    [100, 64],
  );
});

/** A message of each kind, with what makes decoding hard: options, variable lengths, reverse elements, padding. */
const MESSAGES: readonly Uint8Array[] = [
  v5Message([
    {
      from: '10.0.0.1',
      to: '10.0.0.2',
      sourcePort: 1,
      destinationPort: 2,
      protocol: 6,
      packets: 1,
      bytes: 60,
      first: 1,
      last: 2,
    },
  ]),
  v9Message([
    templateSet(
      9,
      300,
      [
        [1, 4],
        [34, 4],
      ],
      1,
    ),
    templateSet(9, 256, SHORT),
    dataSet(300, u32(1), u32(100)),
    dataSet(256, short('10.0.0.1'), short('10.0.0.2'), [0, 0]),
  ]),
  ipfixMessage([
    templateSet(10, 256, [...SHORT, [188, 65_535, 35_632], [1, 8, 29_305]]),
    dataSet(256, short('10.0.0.1'), [3, 97, 98, 99], u64(9), short('10.0.0.2'), [255, 0, 1, 97], u64(9)),
    templateSet(10, 256, []),
  ]),
];

test('takes every message cut at every length, and with every single bit turned, and counts the faults', () => {
  for (const message of MESSAGES) {
    for (let length = 0; length < message.length; length++) {
      const { feed, counters } = collect();
      feed(message.slice(0, length));
      // NetFlow v9 has no length of its own: cut between two sets it is a shorter message.
      const isAtSetEnd = message[1] === 9 && Object.keys(counters.malformed).length === 0;
      assert.ok(isAtSetEnd || Object.values(counters.malformed).some((n) => n > 0), `cut at ${length}`);
    }
    for (let bit = 0; bit < message.length * 8; bit++) {
      const turned = message.slice();
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { feed } = collect();
      feed(turned);
      feed(message);
    }
  }
});

test('takes any bytes after a good beginning without throwing, in bounded memory', () => {
  const piece = fc.oneof(
    fc.constantFrom(...MESSAGES),
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.constantFrom(5, 9, 10), fc.uint8Array({ maxLength: 300 }))
      .map(([version, rest]) => concat(u16(version), rest)),
    fc
      .tuple(
        fc.constantFrom(...MESSAGES),
        fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
      )
      .map(([message, changes]) => {
        const changed = message.slice();
        for (const [at, value] of changes) changed[at % changed.length] = value;
        return changed;
      }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (messages) => {
      const { feed, flows, decoder } = collect({ maxDomains: 4, maxTemplates: 4, maxWaitingSets: 8 });
      for (const [i, message] of messages.entries()) feed(message, i * 1000, String(i % 3));
      for (const flow of flows) {
        assert.ok(flow.startMs <= flow.endMs && flow.sourcePort <= 65_535 && flow.protocol <= 255);
        assert.ok(
          !(flow.forward.packets < 0) &&
            flow.forward.tcpFlags <= 255 === !Number.isNaN(flow.forward.tcpFlags),
        );
      }
      const domains = [...decoder.domains];
      assert.ok(domains.length <= 4 && domains.every(({ templates }) => templates.size <= 4));
    }),
    { numRuns: 1500 },
  );
});
