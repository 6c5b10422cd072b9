import { loadavg } from 'node:os';
import { runLive } from '../support/live-wire.ts';
import { sharedDataPath } from '../support/requires.ts';

/**
 * Live capture at a rate for a time, over a pair of interfaces: `live [packets a second] [seconds]`. Each packet sent
 * was metered, or is counted as lost by where it was lost.
 */
const [rate = 200_000, seconds = 60] = process.argv.slice(2).map(Number);
const capture = sharedDataPath('pcap/ndpi/coap_mqtt.pcap');
if (capture === undefined) throw new Error('needs the data pcap');
const run = await runLive({ capture, rate, seconds, schema: 'flow', meter: {} });
const lost = Object.values(run.lost).reduce((sum, n) => sum + n, 0);
const result = {
  type: 'campaign.result',
  name: 'live',
  asked: { rate, seconds },
  sent: run.sent,
  packets: run.packets,
  lost: run.lost,
  unaccounted: run.sent - run.packets - lost,
  flows: run.flows,
  malformed: run.malformed,
  rate: Math.round(run.sent / seconds),
  cpuSeconds: run.cpuSeconds,
  /** Of one core, while packets came: this process alone, without tcpdump. */
  cpuShare: Math.round((run.cpuSeconds / seconds) * 1000) / 1000,
  tcpdumpCpuSeconds: run.tcpdumpCpuSeconds,
  load: loadavg().map((value) => Math.round(value * 100) / 100),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
if (result.unaccounted !== 0) process.exitCode = 1;
