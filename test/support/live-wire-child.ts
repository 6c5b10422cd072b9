import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { FlowExtractor, loadSchema } from '../../src/features/index.ts';
import { openFlowSource } from '../../src/traffic/index.ts';
import type { LiveResult, LiveRun } from './live-wire.ts';
import { toolPath } from './requires.ts';

/** Run in a network namespace of its own: makes a pair of interfaces, sends on one, captures on the other. */
const run = JSON.parse(process.argv[2] ?? '{}') as LiveRun;
const ip = (...args: string[]) => execFileSync(toolPath('ip') ?? 'ip', args);
/** Packets that were sent are through tcpdump's blocks and its pipe within this time of silence. */
const SILENCE_MS = 1_500;

// Without addresses nobody but us sends on the pair.
ip('link', 'add', 'sender', 'type', 'veth', 'peer', 'name', 'listener');
for (const name of ['sender', 'listener']) {
  execFileSync('sh', ['-c', `echo 1 > /proc/sys/net/ipv6/conf/${name}/disable_ipv6`]);
  ip('link', 'set', name, 'mtu', '9000', 'arp', 'off', 'up');
}

const { id, schema } = await loadSchema(run.schema);
const extractor = new FlowExtractor({ id, schema });
const hash = createHash('sha256');
const stop = new AbortController();
const { record, filter } = run;
const source = await openFlowSource('live:listener', {
  ...run.meter,
  ...(filter !== undefined && { live: { filter } }),
  ...(record !== undefined && { record: { path: record } }),
});
let tcpdumpCpuSeconds = 0;
const started = performance.now();
const before = process.cpuUsage();
const sent = send().then(async (packets) => {
  let seen = -1;
  while (seen !== source.counters.packets) {
    seen = source.counters.packets;
    await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
  }
  tcpdumpCpuSeconds = cpuOfTcpdump();
  stop.abort();
  return packets;
});
let flows = 0;
for await (const batch of source.batches(stop.signal)) {
  flows += batch.rows;
  hash.update(extractor.extract(batch).values);
}
const used = process.cpuUsage(before);
const { packets, lost, malformed } = source.counters;
const result: LiveResult = {
  sent: await sent,
  ...{ packets, flows, lost, malformed },
  recordedPackets: record === undefined ? 0 : packets,
  vectors: hash.digest('hex'),
  seconds: (performance.now() - started) / 1000,
  cpuSeconds: (used.user + used.system) / 1e6,
  tcpdumpCpuSeconds,
};
process.stdout.write(`${JSON.stringify(result)}\n`);

async function send(): Promise<number> {
  const child = spawn(
    toolPath('tcpreplay') ?? 'tcpreplay',
    [
      ...['--quiet', '--preload-pcap', '--intf1=sender'],
      ...(run.rate === undefined ? [] : [`--pps=${run.rate}`]),
      ...(run.seconds === undefined ? [] : [`--duration=${run.seconds}`, '--loop=100000000']),
      run.capture,
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(child, 'close');
  return Number(/Actual: (\d+) packets/.exec(text)?.[1]);
}

/** CPU seconds so far of the tcpdump that is our child, from /proc (100 ticks a second). */
function cpuOfTcpdump(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
  for (const child of children) {
    const [, name, rest = ''] = /\((.*)\) (.*)/.exec(readFileSync(`/proc/${child}/stat`, 'utf8')) ?? [];
    const fields = rest.split(' ');
    if (name === 'tcpdump') return (Number(fields[11]) + Number(fields[12])) / 100;
  }
  return 0;
}
