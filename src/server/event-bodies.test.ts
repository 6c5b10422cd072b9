import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { requireData } from '../../test/support/requires.ts';
import { sentFlow } from '../../test/support/served-guardian.ts';
import { openFlowSource } from '../traffic/index.ts';
import { readEvents } from './event-bodies.ts';

const SAMPLES = 'zeek-suricata-argus-samples';
const EVE = [
  {
    event_type: 'dns',
    flow_id: 7,
    timestamp: '2026-11-23T09:00:00.000000+0000',
    dns: { type: 'query', rrname: 'a.example' },
  },
  {
    ...{ event_type: 'flow', flow_id: 7, timestamp: '2026-11-23T09:00:02.000000+0000', proto: 'UDP' },
    ...{ src_ip: '192.0.2.1', src_port: 40_000, dest_ip: '192.0.2.53', dest_port: 53 },
    flow: {
      ...{
        pkts_toserver: 1,
        pkts_toclient: 1,
        bytes_toserver: 70,
        bytes_toclient: 120,
        state: 'established',
      },
      ...{ start: '2026-11-23T09:00:00.000000+0000', end: '2026-11-23T09:00:01.000000+0000' },
    },
  },
  { event_type: 'stats', timestamp: '2026-11-23T09:00:03.000000+0000', stats: {} },
];

describe('a body of events', () => {
  test('may be the lines of a Zeek log, read as the file is', async (t) => {
    const path = requireData(t, `${SAMPLES}/test10-mixed-zeek-dir__conn.log.gz`);
    if (path === undefined) return;
    const { flows, unread } = await readEvents(gunzipSync(readFileSync(path)).toString());
    const file = await openFlowSource(path);
    const expected = [];
    for await (const batch of file.batches()) expected.push(...batch.records());
    assert.ok(expected.length > 0);
    assert.deepEqual([...flows.records()], expected);
    assert.deepEqual(unread, { ...file.counters.ignored, ...file.counters.malformed });
  });

  test('may be what Suricata wrote', async (t) => {
    const path = requireData(t, `${SAMPLES}/test6-malicious.suricata.json.gz`);
    if (path === undefined) return;
    const lines = gunzipSync(readFileSync(path)).toString().split('\n');
    const { flows, unread } = await readEvents(lines.slice(0, 2_000).join('\n'));
    assert.ok(flows.rows > 0);
    assert.equal(flows.sourceKind, 'eve');
    assert.ok(Object.keys(unread ?? {}).length > 0);
  });

  test('may be EVE, whose other events are counted and whose names go to their flow', async () => {
    const { flows, unread } = await readEvents(EVE.map((event) => JSON.stringify(event)).join('\n'));
    const [flow] = [...flows.records()];
    assert.equal(flow?.sourceKind, 'eve');
    assert.deepEqual(flow?.names?.dns, ['a.example']);
    assert.deepEqual(unread, { 'event-stats': 1 });
  });

  test('may be Zeek as JSON, where a line that is no flow is counted and the others are taken', async () => {
    const line = {
      ...{
        ts: 1_795_435_200.5,
        uid: 'C1',
        'id.orig_h': '192.0.2.1',
        'id.orig_p': 40_000,
        'id.resp_h': '192.0.2.9',
      },
      ...{ 'id.resp_p': 22, proto: 'tcp', duration: 1, orig_pkts: 3, resp_pkts: 2, conn_state: 'SF' },
    };
    const lines = [
      JSON.stringify(line),
      '{"id.orig_h": ',
      JSON.stringify({ ...line, 'id.resp_h': 'nobody' }),
    ];
    const { flows, unread } = await readEvents(lines.join('\n'));
    assert.equal(flows.rows, 1);
    assert.deepEqual(unread, { 'zeek-invalid-json': 1, 'zeek-invalid-address': 1 });
  });

  test('in our own form is taken whole or not at all', async () => {
    const lines = `${JSON.stringify(sentFlow())}\n{"sourceKind": "zeek"}`;
    await assert.rejects(readEvents(lines), { code: 'server.request-invalid' });
    assert.equal((await readEvents(JSON.stringify(sentFlow()))).unread, undefined);
  });

  test('names the column that a log lacks', async () => {
    const log = '#separator \\x09\n#fields\tts\tuid\n1.0\tC1\n';
    await assert.rejects(readEvents(log), { code: 'traffic.missing-column' });
  });
});
