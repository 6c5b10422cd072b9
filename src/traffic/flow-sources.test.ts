import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { ethernet, FLAG, ipv4, pcapFile, tcp, udp } from '../../test/support/packets.ts';
import { requireData } from '../../test/support/requires.ts';
import { readCsvRows } from './csv.ts';
import { TrafficError } from './errors.ts';
import type { FlowRecord } from './flow.ts';
import { FLOW_CSV_COLUMNS, flowToCsvRow } from './flow-csv.ts';
import type { FlowSource } from './flow-source.ts';
import { openFlowSource } from './open-flow-source.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traffic-'));
});
after(() => rm(folder, { recursive: true }));

async function file(content: string | Uint8Array, name = 'no-suffix'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function flowsOf(source: FlowSource): Promise<FlowRecord[]> {
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  return flows;
}

async function open(content: string | Uint8Array) {
  const source = await openFlowSource(await file(content));
  return { source, flows: await flowsOf(source) };
}

const has = (code: string) => (error: unknown) => error instanceof TrafficError && error.code === code;

const SYN = ethernet(0x0800, ipv4('10.0.0.3', '10.0.0.4', 6, tcp(5, 6, FLAG.syn)));
const CAPTURE = pcapFile([
  { bytes: ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 17, udp(1000, 53, 5))), timeMs: 1000 },
  { bytes: ethernet(0x0800, ipv4('10.0.0.2', '10.0.0.1', 17, udp(53, 1000, 80))), timeMs: 1010 },
  { bytes: SYN, timeMs: 1020 },
]);

test('tells a capture by its content, plain or gzip', async () => {
  const plain = await open(CAPTURE);
  const packed = await open(gzipSync(CAPTURE));
  assert.equal(plain.source.kind, 'packets');
  assert.deepEqual(
    plain.flows.map((flow) => flow.state),
    ['SF', 'S0'],
  );
  assert.deepEqual(packed.flows, plain.flows);
  assert.deepEqual(packed.source.counters, plain.source.counters);
});

test('reads what is there of a gzip that is cut or damaged, and counts it', async () => {
  const packed = gzipSync(CAPTURE, { level: 0 });
  const cut = await open(packed.subarray(0, packed.length - 20));
  assert.deepEqual(cut.source.counters.malformed, { 'truncated-packet-record': 1 });
  assert.equal(cut.flows.length, 1);
  const whole = pcapFile(Array.from({ length: 2000 }, (_, i) => ({ bytes: SYN, timeMs: i })));
  const damaged = new Uint8Array(gzipSync(whole, { level: 0 }));
  damaged[damaged.length - 5] = (damaged[damaged.length - 5] ?? 0) ^ 1;
  const { source, flows } = await open(damaged);
  assert.equal(source.counters.malformed['damaged-gzip'], 1);
  assert.ok(flows.length > 0 && source.counters.packets > 1000, 'what came before the damage is read');
  await assert.rejects(open(gzipSync('x').subarray(0, -8).fill(7, 10)), /its gzip is damaged/);
});

test('refuses unknown content, empty files, missing files and folders without captures by name', async () => {
  await assert.rejects(openFlowSource(await file('hello\n')), has('traffic.unknown-format'));
  await assert.rejects(openFlowSource(await file('')), /it is empty/);
  await assert.rejects(openFlowSource(await file(gzipSync('hello'))), has('traffic.unknown-format'));
  await assert.rejects(openFlowSource(join(folder, 'absent.pcap')), /absent\.pcap does not exist/);
  await assert.rejects(openFlowSource(await mkdtemp(join(folder, 'empty-'))), has('traffic.source-missing'));
  await assert.rejects(openFlowSource(folder), has('traffic.follow-unsupported'));
});

test('hands out the open flows when it is aborted', async () => {
  const source = await openFlowSource(await file(CAPTURE));
  const stop = new AbortController();
  stop.abort();
  for await (const _ of source.batches(stop.signal)) assert.fail('nothing was read');
  const packets = Array.from({ length: 8_000 }, (_, i) => ({
    bytes: ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 17, udp(i % 60_000, 53))),
    timeMs: 1000 + i * 100,
  }));
  const long = await openFlowSource(await file(pcapFile(packets)));
  const later = new AbortController();
  const reasons = new Set<string>();
  for await (const batch of long.batches(later.signal)) {
    for (const flow of batch.records()) reasons.add(flow.endReason);
    later.abort();
  }
  assert.ok(long.counters.packets < packets.length);
  assert.deepEqual([...reasons], ['idle', 'end-of-source']);
});

const ZEEK_HEADER =
  '#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n';
const FIELDS =
  '#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\torig_bytes\tresp_bytes\tconn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\tlabel\n';
const LINE =
  '1600.5\tC1\t10.0.0.1\t4000\t10.0.0.2\t80\ttcp\t0.25\t100\t2000\tSF\tShADadFf\t7\t400\t9\t2400\tBenign\n';

test('reads a Zeek conn.log in TSV, with columns of any order and further ones', async () => {
  const { source, flows } = await open(`${ZEEK_HEADER}${FIELDS}${LINE}#close\t2026\n`);
  assert.equal(source.kind, 'zeek');
  assert.deepEqual(flows, [
    {
      sourceKind: 'zeek',
      protocol: 6,
      sourceAddress: '10.0.0.1',
      destinationAddress: '10.0.0.2',
      sourcePort: 4000,
      destinationPort: 80,
      startMs: 1_600_500,
      endMs: 1_600_750,
      forward: { packets: 7, bytes: 400, payloadBytes: 100, tcpFlags: 19 },
      backward: { packets: 9, bytes: 2400, payloadBytes: 2000, tcpFlags: 19 },
      state: 'SF',
      endReason: 'reported',
      measures: { forward_length_mean: 400 / 7, backward_length_mean: 2400 / 9 },
    },
  ]);
  assert.deepEqual([source.counters.packets, source.counters.bytes, source.counters.flows], [16, 2800, 1]);
  const other = '#separator |\n#unset_field|?\n#fields|proto|id.resp_p|id.resp_h|id.orig_p|id.orig_h|ts\n';
  const swapped = await open(`${other}icmp|0|FE80:0::2|128|fe80::1|5\r\nudp|53|1.1.1.1|9|2.2.2.2|?\n`);
  assert.deepEqual(swapped.source.counters.malformed, { 'zeek-invalid-time': 1 });
  const flow = swapped.flows[0];
  assert.deepEqual(
    [flow?.protocol, flow?.destinationAddress, flow?.sourcePort, flow?.state],
    [58, 'fe80::2', 128, 'S0'],
  );
  assert.ok(Number.isNaN(flow?.forward.packets));
});

test('reads a Zeek conn.log in JSON, with times in seconds or as text', async () => {
  const entry = {
    ts: 5.5,
    'id.orig_h': '::1',
    'id.orig_p': 1,
    'id.resp_h': '::2',
    'id.resp_p': 53,
    proto: 'udp',
  };
  const lines = [
    entry,
    { ...entry, ts: '2026-01-01T00:00:00.250Z', resp_pkts: 2, orig_pkts: 1, duration: 1.5 },
    { ...entry, proto: 'unknown_transport', ip_proto: 89 },
    { ...entry, proto: 'unknown_transport' },
    { ...entry, 'id.orig_p': 70_000 },
    { ...entry, 'id.orig_h': 'x' },
    { ...entry, duration: -1 },
    { ...entry, proto: null },
    [1],
  ];
  const { source, flows } = await open(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n{"ts":\n`);
  assert.deepEqual(
    flows.map((flow) => [flow.startMs, flow.endMs - flow.startMs, flow.state, flow.protocol]),
    [
      [5500, 0, 'S0', 17],
      [Date.UTC(2026, 0, 1) + 250, 1500, 'SF', 17],
      [5500, 0, 'S0', 89],
      [5500, 0, 'S0', 255],
    ],
  );
  assert.deepEqual(source.counters.malformed, {
    'zeek-invalid-port': 1,
    'zeek-invalid-address': 1,
    'zeek-invalid-duration': 1,
    'zeek-invalid-protocol': 1,
    'zeek-invalid-json': 2,
  });
});

test('counts broken Zeek lines and refuses a log that is no conn.log', async () => {
  const { source } = await open(
    `${ZEEK_HEADER}too early\n${FIELDS}1\t2\n${LINE}${'x'.repeat(1 << 21)}\n${LINE}`,
  );
  assert.deepEqual(source.counters.malformed, {
    'zeek-no-header': 1,
    'zeek-field-count': 1,
    'line-too-long': 1,
  });
  assert.equal(source.counters.flows, 2);
  await assert.rejects(
    open('#separator \\x09\n#fields\tts\tuid\tquery\n1\t2\t3\n'),
    has('traffic.missing-column'),
  );
  await assert.rejects(open('{"ts":1,"query":"example.org"}\n'), has('traffic.missing-column'));
});

test('reads the Zeek samples of the shared data', async (t) => {
  const path = requireData(t, 'zeek-suricata-argus-samples');
  if (path === undefined) return;
  const rows = { 'port-scans__horizontal__conn.log.gz': 41, 'port-scans__vertical__conn.log.gz': 50 };
  const labelled = { 'test18-malicious-ctu-sme-11-win__zeek-labeled__conn.log.labeled.gz': 766 };
  for (const [name, count] of Object.entries({ ...rows, ...labelled })) {
    const source = await openFlowSource(join(path, name));
    assert.equal((await flowsOf(source)).length, count, name);
    assert.deepEqual(source.counters.malformed, {});
  }
});

test('reads back the flow CSV it writes, flow by flow', async () => {
  const { flows } = await open(CAPTURE);
  const zeek = await open(
    `${ZEEK_HEADER}#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\n1\t::1\t1\t::2\t2\ttcp\n`,
  );
  const all = [...flows, ...zeek.flows];
  const text = [FLOW_CSV_COLUMNS, ...all.map(flowToCsvRow)].map((row) => row.join(',')).join('\r\n');
  const back = await open(`\ufeff${text}\r\n`);
  assert.equal(back.source.kind, 'csv');
  assert.deepEqual(back.flows, all);
});

test('reads a flow CSV of few columns in any order, and counts broken rows', async () => {
  const header =
    'end_ms,Start_ms,protocol,"source_address",destination_address,source_port,destination_port,extra';
  const rows = [
    '2000,1000,17,10.0.0.1,10.0.0.2,5,53,"a,""b"',
    '1,2,17,10.0.0.1,10.0.0.2,5,53,',
    '1,1,17,x,y,5,53,',
    '1',
  ];
  const { source, flows } = await open(`${header}\n${rows.join('\n')}\n`);
  assert.deepEqual(
    flows.map((flow) => [flow.sourceKind, flow.state, flow.endReason]),
    [['csv', 'S0', 'reported']],
  );
  const counted = { 'csv-invalid-number': 1, 'csv-invalid-address': 1, 'csv-field-count': 1 };
  assert.deepEqual(source.counters.malformed, counted);
  assert.equal((await open(`${header}\n"never closed\n`)).source.counters.malformed['csv-broken-quotes'], 1);
  await assert.rejects(open('start_ms,end_ms,protocol\n1,2,3\n'), has('traffic.missing-column'));
});

async function csv(text: string, size: number, options = {}): Promise<string[][]> {
  const bytes = Buffer.from(text);
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += size) yield new Uint8Array(bytes.subarray(at, at + size));
  }
  const rows: string[][] = [];
  for await (const batch of readCsvRows(chunks(), options)) rows.push(...batch);
  return rows;
}

test('reads CSV with quotes, line ends of both kinds and a byte order mark, in pieces of any size', async () => {
  const text = '\ufeffa,b\r\n"x ""y""\n1",2\n5" disk,3\n\n"",""\n,\nlast,"ä€😀"';
  const rows = [
    ['a', 'b'],
    ['x "y"\n1', '2'],
    ['5" disk', '3'],
    ['', ''],
    ['', ''],
    ['last', 'ä€😀'],
  ];
  for (const size of [1, 2, 3, 5, 100]) assert.deepEqual(await csv(text, size), rows, `size ${size}`);
  assert.deepEqual(await csv('a;b,c\n', 10, { delimiter: ';' }), [['a', 'b,c']]);
});

test('reads back any CSV that is written with quotes', async () => {
  const cell = fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom('"', ',', '\n', '\r\n', '""', 'a"b'));
  const table = fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(table, fc.integer({ min: 1, max: 30 }), async (rows, size) => {
      const text = rows
        .map((row) => row.map((value) => `"${value.replaceAll('"', '""')}"`).join(','))
        .join('\n');
      assert.deepEqual(await csv(text, size), rows);
    }),
    { numRuns: 40 },
  );
});

test('refuses CSV beyond its limits or with broken quotes', async () => {
  const broken = ['a\n"b', '"a"b,c\n'];
  for (const text of broken) await assert.rejects(csv(text, 3), has('traffic.csv-malformed'));
  await assert.rejects(
    csv(`a,${'x'.repeat(100)}\n`, 50, { maxFieldLength: 99 }),
    has('traffic.csv-malformed'),
  );
  await assert.rejects(csv('x'.repeat(101), 50, { maxRowLength: 100 }), has('traffic.csv-malformed'));
  await assert.rejects(csv(`"${'\n'.repeat(101)}`, 50, { maxRowLength: 100 }), has('traffic.csv-malformed'));
  await assert.rejects(readCsvRows(join(folder, 'absent.csv')).next(), has('traffic.source-missing'));
});

test('takes any text as a log or a table without throwing anything but its own errors', async () => {
  const starts = ['', '{', '#fields\tts\n', ZEEK_HEADER + FIELDS, `${FLOW_CSV_COLUMNS.join(',')}\n`];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...starts),
      fc.string({ maxLength: 200, unit: 'binary' }),
      async (start, rest) => {
        try {
          await open(start + rest);
        } catch (error) {
          assert.ok(error instanceof TrafficError, String(error));
        }
      },
    ),
    { numRuns: 40 },
  );
});
