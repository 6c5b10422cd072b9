import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { type FlowRecord, openCollector, openFlowSource } from '../../src/traffic/index.ts';
import { ipfixMessage, v9Message } from '../support/netflow-messages.ts';
import { requireData, requireTool, toolPath } from '../support/requires.ts';

const run = promisify(execFile);
const LAST_DOMAIN = 0xffff_fffe;

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'exporters-'));
});
after(() => rm(folder, { recursive: true }));

/** What a program exports to our collector, from its start to its exit. */
async function collectFrom(
  protocol: 'netflow' | 'ipfix',
  tool: string,
  args: (port: number) => readonly string[],
) {
  const source = await openCollector(`${protocol}://127.0.0.1:0`, { pairing: { waitMs: 60_000 } });
  const stop = new AbortController();
  const flows: FlowRecord[] = [];
  const reading = (async () => {
    for await (const batch of source.batches(stop.signal)) flows.push(...batch.records());
  })();
  const { stdout, stderr } = await run(toolPath(tool) ?? tool, args(source.port), { timeout: 30_000 });
  // Datagrams of one machine arrive in order: once a last one of ours was heard, so were all before it.
  const last = (protocol === 'ipfix' ? ipfixMessage : v9Message)([], { domain: LAST_DOMAIN });
  const socket = createSocket('udp4');
  socket.send(last, source.port, '127.0.0.1');
  while (!source.exporters().some(({ id }) => id === LAST_DOMAIN)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stop.abort();
  await reading;
  socket.close();
  return { source, flows, printed: stdout + stderr };
}

/** What each endpoint of each five-tuple sent, whatever the cut into flows. */
function sums(flows: readonly FlowRecord[]): Map<string, { packets: number; bytes: number }> {
  const sent = new Map<string, { packets: number; bytes: number }>();
  for (const flow of flows) {
    const { protocol, sourceAddress, destinationAddress } = flow;
    // Exporters write ICMP types in ways of their own.
    const [from, to] = protocol === 1 || protocol === 58 ? [0, 0] : [flow.sourcePort, flow.destinationPort];
    const there = `${protocol} ${sourceAddress} ${from} ${destinationAddress} ${to}`;
    const back = `${protocol} ${destinationAddress} ${to} ${sourceAddress} ${from}`;
    for (const [key, side] of [
      [there, flow.forward],
      [back, flow.backward],
    ] as const) {
      if (side.packets === 0) continue;
      const sum = sent.get(key) ?? { packets: 0, bytes: 0 };
      sent.set(key, { packets: sum.packets + side.packets, bytes: sum.bytes + side.bytes });
    }
  }
  return new Map([...sent].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Ethernet pads what is shorter; softflowd counts the padding, we do not. */
const MIN_ETHERNET_PAYLOAD = 46;
const MIN_IP_PACKET = 28;

function assertSame(exported: ReturnType<typeof sums>, own: ReturnType<typeof sums>, name: string): void {
  const packets = (of: ReturnType<typeof sums>) => Array.from(of, ([key, sum]) => `${key}: ${sum.packets}`);
  assert.deepEqual(packets(exported), packets(own), name);
  for (const [key, sum] of own) {
    const padding = (exported.get(key)?.bytes ?? 0) - sum.bytes;
    const isPadded = padding > 0 && padding <= (MIN_ETHERNET_PAYLOAD - MIN_IP_PACKET) * sum.packets;
    assert.ok(padding === 0 || isPadded, `${name}, ${key}: ${padding} bytes more`);
  }
}

const CAPTURES = [
  'pcap/ndpi/webex.pcap',
  'pcap/ndpi/synscan.pcap',
  'pcap/slips/test19-malicious-ssh__malicious-ssh-bruteforce.pcap',
];
const EXPORTS = [
  ['netflow', 5, []],
  ['netflow', 9, []],
  ['ipfix', 10, []],
  ['ipfix', 10, ['-b']],
] as const;

test('what softflowd exports of real captures is what our own meter measures', async (t) => {
  if (!requireTool(t, 'softflowd')) return;
  for (const capture of CAPTURES) {
    const path = requireData(t, capture);
    if (path === undefined) return;
    const metered = await openFlowSource(path);
    const own: FlowRecord[] = [];
    for await (const batch of metered.batches()) own.push(...batch.records());
    for (const [protocol, version, more] of EXPORTS) {
      const { source, flows } = await collectFrom(protocol, 'softflowd', (port) => [
        ...['-r', path, '-n', `127.0.0.1:${port}`, '-v', String(version), '-d', '-c', 'none'],
        ...['-p', join(folder, 'softflowd.pid'), ...more],
      ]);
      const name = `${capture}, version ${version} ${more.join()}`;
      assertSame(sums(flows), sums(own), name);
      const { malformed, lost, limits } = source.counters;
      assert.deepEqual({ malformed, lost, limits }, { malformed: {}, lost: {}, limits: {} }, name);
      const answered = flows.filter((flow) => flow.backward.packets > 0).length;
      assert.ok(
        answered >= own.filter((flow) => flow.backward.packets > 0).length * 0.9,
        `${name}: directions are joined`,
      );
      if (version !== 5) assert.equal(source.exporters()[0]?.samplingInterval, 1, name);
    }
  }
});

test('reads what nfreplay sends of the nfdump sample', async (t) => {
  const sample = requireData(t, 'zeek-suricata-argus-samples/test1-malicious.nfdump.gz');
  if (sample === undefined || !requireTool(t, 'nfreplay') || !requireTool(t, 'nfdump')) return;
  // The sample has the file layout of nfdump 1.6, which nfdump reads and nfreplay does not: it is written anew.
  const old = join(folder, 'old.nfdump');
  const path = join(folder, 'sample.nfdump');
  await writeFile(old, gunzipSync(await readFile(sample)));
  await run(toolPath('nfdump') ?? 'nfdump', ['-r', old, '-w', path]);
  const { source, flows } = await collectFrom('netflow', 'nfreplay', (port) => [
    ...['-r', path, '-H', '127.0.0.1', '-p', String(port)],
  ]);
  const { stdout } = await run(toolPath('nfdump') ?? 'nfdump', ['-r', path, '-I']);
  const told = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(stdout)?.[1]);
  assert.deepEqual(
    [source.counters.packets, source.counters.bytes, source.exporters()[0]?.records],
    [told('Packets'), told('Bytes'), told('Flows')],
  );
  assert.deepEqual([source.counters.malformed, source.counters.lost], [{}, {}]);
  // A scan of port 902 and others: nearly every attempt was refused.
  const states = flows.filter((flow) => flow.state === 'REJ').length;
  assert.ok(states > flows.length * 0.9, `${states} of ${flows.length} refused`);
  assert.equal(flows[0]?.startMs, 1_515_771_450_942);
});
