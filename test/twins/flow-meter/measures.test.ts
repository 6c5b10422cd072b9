import assert from 'node:assert/strict';
import { concat, FLAG, ipv4, tcp, udp } from '../../support/packets.ts';
import { A, B, back, flowsOf, HANDSHAKE, measuresOf, only, out, type Timed, testMeters } from './feed.ts';

const data = (seq: number, payload: number): Uint8Array => out(FLAG.ack, { seq, payload });
const withSegments = (...segments: readonly Uint8Array[]): Timed[] => [
  [0, out(FLAG.syn, { seq: 1 })],
  ...segments.map((segment, i): Timed => [i + 1, segment]),
];
const SEQUENCE = [
  'forward_retransmitted_packets',
  'forward_retransmitted_bytes',
  'forward_out_of_order_packets',
] as const;

const SEQUENCES: readonly (readonly [string, readonly Uint8Array[], readonly number[]])[] = [
  ['in order', [data(2, 10), data(12, 10)], [0, 0, 0]],
  ['sent again', [data(2, 10), data(2, 10), data(2, 5)], [2, 15, 0]],
  ['the SYN again', [out(FLAG.syn, { seq: 1 })], [1, 0, 0]],
  ['a gap that is filled', [data(2, 10), data(22, 10), data(12, 10)], [0, 0, 1]],
  [
    'a gap that is filled in two, then again',
    [data(22, 10), data(12, 10), data(2, 10), data(2, 10)],
    [1, 10, 2],
  ],
  ['the latest gap only', [data(12, 10), data(32, 10), data(2, 10), data(22, 10)], [1, 10, 1]],
  ['overlap with something new', [data(2, 10), data(7, 10)], [0, 0, 0]],
  ['keep-alive probes', [data(2, 10), data(11, 1), data(11, 0), data(12, 0)], [0, 0, 0]],
];

testMeters('tells retransmitted segments from those out of order', (make) => {
  for (const [name, segments, expected] of SEQUENCES) {
    const flow = only(flowsOf(make, withSegments(...segments)));
    assert.deepEqual(measuresOf(flow, ...SEQUENCE), expected, name);
  }
});

testMeters('follows sequence numbers around 2^32', (make) => {
  const segments = [data(0xfffffff0, 32), data(0x10, 8), data(0xfffffff8, 8), data(0x28, 8), data(0x18, 16)];
  const flow = only(
    flowsOf(
      make,
      segments.map((segment, i) => [i, segment]),
    ),
  );
  assert.deepEqual(measuresOf(flow, ...SEQUENCE), [1, 8, 1]);
});

testMeters('knows a retransmission across the active timeout', (make) => {
  const flows = flowsOf(make, [...withSegments(data(2, 10)), [2_000, data(2, 10)]], {
    activeTimeoutMs: 1_000,
  });
  assert.deepEqual(
    flows.map((flow) => measuresOf(flow, SEQUENCE[0])),
    [[0], [1]],
  );
});

testMeters('measures lengths, first lengths with their direction, buckets and windows', (make) => {
  const window = tcp(40_000, 80, FLAG.ack, { seq: 2, payload: 474 });
  window.set([0x20, 0], 14);
  const flow = only(
    flowsOf(make, [...HANDSHAKE, [30, ipv4(A, B, 6, window)], [40, back(FLAG.ack, { payload: 1475 })]]),
  );
  assert.deepEqual(
    measuresOf(
      flow,
      'first_length_1',
      'first_length_2',
      'first_length_3',
      'first_length_4',
      'first_length_5',
      'first_length_6',
    ),
    [40, -40, 40, 514, -1515, 0],
  );
  assert.deepEqual(
    measuresOf(
      flow,
      'packets_to_128',
      'packets_to_256',
      'packets_to_512',
      'packets_to_1024',
      'packets_to_1514',
    ),
    [3, 0, 0, 1, 0],
  );
  assert.deepEqual(measuresOf(flow, 'forward_window_max', 'backward_window_max'), [0x2000, 0]);
});

testMeters('counts a late packet as no interval, in order of arrival', (make) => {
  const flow = only(
    flowsOf(
      make,
      [10, 30, 25, 45].map((at) => [at, data(at, 0)]),
    ),
  );
  assert.deepEqual(
    measuresOf(flow, 'forward_iat_min_ms', 'forward_iat_max_ms', 'forward_duration_ms'),
    [0, 20, 35],
  );
  assert.ok(Math.abs((flow.measures?.forward_iat_mean_ms ?? 0) - 40 / 3) < 1e-12);
  assert.deepEqual([flow.startMs, flow.endMs], [10, 45]);
});

testMeters('gives an unseen direction zeros everywhere', (make) => {
  const flow = only(flowsOf(make, [[0, data(1, 5)]]));
  const silent = Object.entries(flow.measures ?? {}).filter(([name]) => name.startsWith('backward_'));
  assert.equal(silent.length, 13);
  for (const [name, value] of silent) assert.equal(value, 0, name);
});

testMeters('measures the entropy of payloads where asked', (make) => {
  const packet = (content: Uint8Array) =>
    concat(ipv4(A, B, 17, udp(1, 2, content.length)).subarray(0, 28), content);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const packets: Timed[] = [
    [0, packet(bytes)],
    [1, packet(new Uint8Array(256))],
  ];
  const measure = (payloadEntropy: boolean) =>
    only(flowsOf(make, packets, { payloadEntropy })).measures?.payload_entropy;
  assert.equal(measure(true), 4);
  assert.equal(measure(false), undefined);
});

testMeters(
  'hands DNS messages to the inspector, sixteen of a flow, and says nothing of other flows',
  (make) => {
    const message = Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 2, 98, 99, 0, 0, 16, 0, 1]);
    const asked = concat(ipv4(A, B, 17, udp(5000, 53, message.length)).subarray(0, 28), message);
    const flow = only(
      flowsOf(
        make,
        Array.from({ length: 20 }, (_, i) => [i, asked]),
      ),
    );
    assert.deepEqual(
      measuresOf(
        flow,
        'dns_queries',
        'dns_query_type',
        'dns_name_length_max',
        'dns_labels_max',
        'dns_ttl_min',
      ),
      [16, 16, 4, 2, undefined],
    );
    assert.deepEqual(flow.names, { dns: ['a.bc'] });
    assert.equal(only(flowsOf(make, HANDSHAKE)).measures?.dns_queries, undefined);
  },
);

testMeters('reads a ClientHello in the first data of a direction only', (make) => {
  const body = [3, 3, ...new Uint8Array(32), 0, 0, 2, 0x13, 1, 1, 0, 0, 0];
  const hello = Uint8Array.from([0x16, 3, 1, 0, body.length + 4, 1, 0, 0, body.length, ...body]);
  const segment = (seq: number) =>
    concat(ipv4(A, B, 6, tcp(40_000, 443, FLAG.ack, { seq, payload: hello.length })).subarray(0, 40), hello);
  const first = only(flowsOf(make, [[0, segment(1)]]));
  assert.deepEqual([first.names?.ja4?.slice(0, 10), first.measures?.tls_name_length], ['t12i010000', 0]);
  const plain = ipv4(A, B, 6, tcp(40_000, 443, FLAG.ack, { seq: 1, payload: 4 }));
  const later = only(
    flowsOf(make, [
      [0, plain],
      [1, segment(5)],
    ]),
  );
  assert.deepEqual([later.names, later.measures?.tls_name_length], [undefined, undefined]);
});
