import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBytes } from '../byte-source.ts';
import type { FlowRecord } from '../flow.ts';
import { ZeekSource } from './zeek-source.ts';

async function read(text: string, isJson: boolean) {
  const chunks = async function* () {
    yield Buffer.from(text);
  };
  const source = new ZeekSource(await openBytes(chunks(), () => {}), isJson);
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  return { source, flows };
}

const ID = 'ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p';

test('reads a dns.log alone: a flow for each exchange, without counts', async () => {
  const { flows, source } = await read(
    `#separator \\x09\n#fields\t${ID}\tproto\ttrans_id\trtt\tquery\tqtype\trcode\tanswers\tTTLs\n` +
      '5\tC1\t10.0.0.1\t4000\t10.0.0.2\t53\tudp\t7\t0.25\tWWW.example.org\t1\t0\ta.example,192.0.2.1\t300.0,20.0\n' +
      '6\tC2\t10.0.0.1\t4001\t10.0.0.2\t53\tudp\t8\t-\tx.example.org\t16\t3\t-\t-\n' +
      '7\tC3\t10.0.0.1\t4002\t10.0.0.2\t53\tudp\t9\t-\ty\t1\t-\t-\t-\n' +
      '7\tC4\t10.0.0.1\t4002\t10.0.0.2\t53\ttcp\t9\t-1\ty\t1\t-\t-\t-\n',
    false,
  );
  assert.deepEqual(
    flows.map((flow) => [flow.endMs - flow.startMs, flow.state, flow.names?.dns]),
    [
      [250, 'SF', ['www.example.org']],
      [0, 'SF', ['x.example.org']],
      [0, 'S0', ['y']],
    ],
  );
  assert.deepEqual(
    flows.map(({ measures: m }) => [
      m?.dns_queries,
      m?.dns_responses,
      m?.dns_failures,
      m?.dns_answers,
      m?.dns_ttl_min,
    ]),
    [
      [1, 1, 0, 2, 20],
      [1, 1, 1, 0, undefined],
      [1, 0, 0, 0, undefined],
    ],
  );
  assert.equal(flows[0]?.measures?.dns_name_length_max, 15);
  assert.ok(Number.isNaN(flows[0]?.forward.packets));
  assert.deepEqual(source.counters.malformed, { 'zeek-invalid-duration': 1 });
});

test('reads a dns.log in JSON, whose answers are lists', async () => {
  const entry = {
    ts: 5,
    uid: 'C',
    'id.orig_h': '::1',
    'id.orig_p': 1,
    'id.resp_h': '::2',
    'id.resp_p': 53,
    proto: 'udp',
    trans_id: 1,
    query: 'a.example',
    rcode: 0,
    answers: ['192.0.2.1', '192.0.2.2'],
    TTLs: [60, 30.5],
  };
  const { flows } = await read(`${JSON.stringify(entry)}\n`, true);
  assert.deepEqual([flows[0]?.measures?.dns_answers, flows[0]?.measures?.dns_ttl_min], [2, 30.5]);
});

test('reads an ssl.log alone: a flow for each handshake, with its server name', async () => {
  const { flows } = await read(
    `#separator \\x09\n#fields\t${ID}\tversion\tcipher\tserver_name\n` +
      '5\tC1\t10.0.0.1\t4000\t10.0.0.2\t443\tTLSv12\tX\tExample.org\n' +
      '5\tC2\t10.0.0.1\t4001\t10.0.0.2\t443\tTLSv12\tX\t-\n',
    false,
  );
  assert.deepEqual(
    flows.map((flow) => [flow.protocol, flow.names?.sni, flow.measures?.tls_name_length, flow.state]),
    [
      [6, 'example.org', 11, 'OTH'],
      [6, undefined, 0, 'OTH'],
    ],
  );
});

test('takes what follows with certainty from the counts of conn.log', async () => {
  const fields = `${ID}\tproto\tduration\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes`;
  const { flows } = await read(
    `#separator \\x09\n#fields\t${fields}\n5\tC1\t10.0.0.1\t1\t10.0.0.2\t2\tudp\t0.5\t3\t300\t0\t0\n`,
    false,
  );
  const { measures: m } = flows[0] ?? {};
  assert.deepEqual(
    [m?.forward_length_mean, m?.forward_duration_ms, m?.forward_iat_mean_ms, m?.backward_length_max],
    [100, 500, 250, 0],
  );
  assert.deepEqual([m?.forward_length_max, m?.forward_window_max], [undefined, 0]);
});
