import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openBytes } from '../byte-source.ts';
import { newCounters } from '../counters.ts';
import type { FlowRecord } from '../flow.ts';
import { type EveOptions, EveSource } from './eve-source.ts';

const TIME = '2026-01-01T00:00:00.250123+0200';
const BASE = { src_ip: '10.0.0.1', src_port: 4000, dest_ip: '10.0.0.2', dest_port: 443, proto: 'TCP' };

async function read(lines: readonly (string | object)[], options: Partial<EveOptions> = {}) {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  async function* chunks() {
    for (let at = 0; at < text.length; at += 97) yield Buffer.from(text.slice(at, at + 97));
  }
  const source = new EveSource(await openBytes(chunks(), () => {}), newCounters(), options);
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  return { source, flows };
}

function flow(changes: object = {}, counts: object = {}) {
  return {
    timestamp: TIME,
    event_type: 'flow',
    flow_id: 1,
    ...BASE,
    flow: {
      pkts_toserver: 4,
      pkts_toclient: 3,
      bytes_toserver: 456,
      bytes_toclient: 1042,
      start: TIME,
      end: '2026-01-01T00:00:01.250123+0200',
      state: 'closed',
      reason: 'timeout',
      ...counts,
    },
    tcp: { tcp_flags: '1b', tcp_flags_ts: '1b', tcp_flags_tc: '1b' },
    ...changes,
  };
}

test('reads flow records: frames become IP bytes, flags become the state', async () => {
  const { flows, source } = await read([
    flow(),
    flow({ proto: 'ICMP', icmp_type: 8, icmp_code: 0, tcp: undefined }),
  ]);
  const [first, second] = flows;
  assert.deepEqual(
    [first?.forward.bytes, first?.backward.bytes, first?.state, first?.endReason, first?.sourceKind],
    [400, 1000, 'SF', 'tcp-end', 'eve'],
  );
  assert.equal(first?.startMs, Date.UTC(2025, 11, 31, 22) + 250.123);
  assert.equal(first?.measures?.forward_length_mean, 100);
  assert.deepEqual([second?.protocol, second?.sourcePort, second?.state], [1, 8, 'SF']);
  assert.deepEqual([source.counters.flows, source.counters.packets, source.counters.bytes], [2, 14, 2800]);
});

test('gives a flow the names and measures that came before it, of every version of dns records', async () => {
  const dns = (changes: object) => ({
    ...BASE,
    timestamp: TIME,
    event_type: 'dns',
    flow_id: 7,
    proto: 'UDP',
    dns: changes,
  });
  const { flows } = await read([
    dns({ type: 'query', rrname: 'WWW.example.org', rrtype: 'A' }),
    dns({ type: 'answer', rcode: 'NOERROR', answers: [{ ttl: 300 }, { ttl: 20 }] }),
    dns({ version: 3, type: 'request', queries: [{ rrname: 'x.example.net', rrtype: 'TXT' }] }),
    dns({ version: 3, type: 'response', rcode: 'NXDOMAIN' }),
    { ...BASE, timestamp: TIME, event_type: 'tls', flow_id: 8, tls: { sni: 'a.example', ja4: 't13d' } },
    flow({ flow_id: 7, proto: 'UDP', tcp: undefined }),
    flow({ flow_id: 8 }),
    flow({ flow_id: 7 }),
  ]);
  assert.deepEqual(flows[0]?.names, { dns: ['www.example.org', 'x.example.net'] });
  const { measures } = flows[0] ?? {};
  assert.deepEqual(
    [measures?.dns_queries, measures?.dns_responses, measures?.dns_failures, measures?.dns_answers],
    [2, 2, 1, 2],
  );
  assert.deepEqual([measures?.dns_ttl_min, measures?.dns_query_type, measures?.dns_labels_max], [20, 1, 3]);
  assert.deepEqual(flows[1]?.names, { sni: 'a.example', ja4: 't13d' });
  assert.equal(flows[1]?.measures?.tls_name_length, 9);
  assert.equal(flows[2]?.names, undefined);
});

test('hands an alert on as a count and a text', async () => {
  const alert = { ...BASE, timestamp: TIME, event_type: 'alert', flow_id: 1, alert: { signature: 'a scan' } };
  const { flows, source } = await read([alert, flow()]);
  assert.deepEqual(flows[0]?.names, { reportedAlert: 'a scan' });
  const { flows: without } = await read([flow()]);
  assert.deepEqual(flows[0]?.measures, without[0]?.measures);
  assert.deepEqual(source.counters.ignored, { 'event-alert': 1 });
});

test('forgets names beyond its limits of number and time, and counts them', async () => {
  const dns = (id: number, timestamp = TIME) => ({
    ...BASE,
    timestamp,
    event_type: 'dns',
    flow_id: id,
    dns: { type: 'query', rrname: `n${id}`, rrtype: 'A' },
  });
  const late = '2026-01-01T01:00:00.000000+0200';
  const { flows, source } = await read(
    [dns(1), dns(2), dns(3), flow({ flow_id: 1 }), dns(4, late), flow({ flow_id: 3 })],
    {
      maxRemembered: 2,
      rememberMs: 60_000,
    },
  );
  assert.deepEqual(
    flows.map((each) => each.names),
    [undefined, undefined],
  );
  assert.equal(source.counters.limits.names, 3);
});

test('joins netflow records of both directions, unless the log has flow records', async () => {
  const there = {
    ...BASE,
    timestamp: TIME,
    event_type: 'netflow',
    flow_id: 5,
    tcp: { tcp_flags: '02' },
    netflow: { pkts: 1, bytes: 60, start: TIME, end: TIME },
  };
  const back = {
    ...there,
    src_ip: BASE.dest_ip,
    src_port: BASE.dest_port,
    dest_ip: BASE.src_ip,
    dest_port: BASE.src_port,
    tcp: { tcp_flags: '14' },
  };
  const joined = await read([back, there]);
  assert.deepEqual(
    joined.flows.map((each) => [each.sourceAddress, each.state, each.forward.bytes]),
    [['10.0.0.1', 'REJ', 46]],
  );
  const beside = await read([there, flow(), back]);
  assert.equal(beside.flows.length, 1);
  assert.deepEqual(beside.source.counters.ignored, { 'netflow-beside-flow': 2 });
});

test('counts lines that are no event, and throws for none', async () => {
  const { source } = await read([
    '{',
    '[]',
    '{"event_type":1}',
    flow({ src_ip: 'x' }),
    flow({ src_port: -1 }),
    flow({}, { start: 'now' }),
    flow({}, { end: '2020-01-01T00:00:00Z' }),
  ]);
  assert.deepEqual(source.counters.malformed, {
    'eve-invalid-json': 3,
    'eve-invalid-address': 1,
    'eve-invalid-port': 1,
    'eve-invalid-time': 2,
  });
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(flow(), flow().flow, 'query', 'flow', TIME));
  const event = fc.record(
    {
      event_type: fc.constantFrom('flow', 'dns', 'tls', 'alert', 'netflow', 'http'),
      timestamp: value,
      flow_id: value,
      src_ip: fc.oneof(fc.constant('::1'), value),
      dest_ip: fc.constant('::2'),
      src_port: value,
      dest_port: value,
      proto: value,
      flow: value,
      dns: value,
      tls: value,
      netflow: value,
      alert: value,
    },
    { requiredKeys: ['event_type'] },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 6 }), async (events) => {
      await read(events);
    }),
    { numRuns: 150 },
  );
});
