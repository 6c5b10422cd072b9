import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FlowRecord, openFlowSource, type SourceKind } from '../../src/traffic/index.ts';
import { requireData } from '../support/requires.ts';

/** What a sample holds: flows, packets and bytes as counted, flows by state, different names, what was left out. */
interface Sample {
  readonly kind: SourceKind;
  readonly counts: readonly [flows: number, packets: number, bytes: number];
  readonly states: Readonly<Partial<Record<FlowRecord['state'], number>>>;
  readonly dns?: number;
  readonly sni?: number;
  readonly ignored?: Readonly<Record<string, number>>;
}

const SAMPLES: Readonly<Record<string, Sample>> = {
  'port-scans__horizontal__conn.log': {
    kind: 'zeek',
    counts: [41, 570, 266175],
    states: { SF: 26, RSTR: 3, S0: 11, RSTO: 1 },
  },
  'port-scans__vertical__conn.log': {
    kind: 'zeek',
    counts: [50, 443, 280331],
    states: { REJ: 43, RSTO: 3, SF: 4 },
  },
  'test10-mixed-zeek-dir__conn.log': {
    kind: 'zeek',
    counts: [141, 2070, 1213329],
    states: { SF: 63, S0: 59, OTH: 11, S1: 8 },
  },
  'test10-mixed-zeek-dir__dns.log': { kind: 'zeek', counts: [93, 0, 0], states: { SF: 54, S0: 39 }, dns: 26 },
  'test10-mixed-zeek-dir__ssl.log': { kind: 'zeek', counts: [13, 0, 0], states: { OTH: 13 }, sni: 7 },
  'test11-portscan.binetflow': { kind: 'csv', counts: [66, 712, 181904], states: { S0: 66 } },
  'test13-malicious-dhcpscan-zeek-dir__conn.log': { kind: 'zeek', counts: [2, 28, 1610], states: { S0: 2 } },
  'test14-malicious-zeek-dir__conn.log': { kind: 'zeek', counts: [5, 35, 4620], states: { REJ: 5 } },
  'test15-malicious-zeek-dir__conn.log': { kind: 'zeek', counts: [2, 42, 27660], states: { SF: 2 } },
  'test15-malicious-zeek-dir__ssl.log': { kind: 'zeek', counts: [206, 0, 0], states: { OTH: 206 }, sni: 87 },
  'test18-malicious-ctu-sme-11-win__zeek-labeled__conn.log.labeled': {
    kind: 'zeek',
    counts: [766, 4680, 492993],
    states: { REJ: 718, S0: 39, SF: 3, OTH: 6 },
  },
  'test18-malicious-ctu-sme-11-win__zeek-labeled__dns.log.labeled': {
    kind: 'zeek',
    counts: [22, 0, 0],
    states: { S0: 22 },
    dns: 1,
  },
  'test18-malicious-ctu-sme-11-win__zeek-labeled__ssl.log.labeled': {
    kind: 'zeek',
    counts: [2, 0, 0],
    states: { OTH: 2 },
    sni: 2,
  },
  'test2-malicious.binetflow': {
    kind: 'csv',
    counts: [6751, 491156, 348705565],
    states: { SF: 5303, RSTR: 453, RSTO: 803, S3: 51, S0: 90, S2: 24, S1: 23, OTH: 2, SH: 1, RSTOS0: 1 },
  },
  'test3-mixed.binetflow': {
    kind: 'csv',
    counts: [89, 186, 39779],
    states: { S0: 8, REJ: 15, S1: 2, OTH: 17, SF: 3, SH: 1, RSTOS0: 28, RSTR: 15 },
  },
  'test4-malicious.binetflow': {
    kind: 'csv',
    counts: [392, 318, 433244],
    states: { S1: 2, SF: 118, S0: 272 },
    ignored: { 'argus-arp': 2 },
  },
  'test5-mixed.binetflow': {
    kind: 'csv',
    counts: [296, 29639, 2825007],
    states: { S0: 14, SF: 277, RSTR: 1, RSTO: 4 },
    ignored: { 'argus-man': 1, 'argus-llc': 1, 'argus-arp': 2 },
  },
  'test6-malicious.suricata.json': {
    kind: 'eve',
    counts: [3512, 39171, 4482235],
    states: { S0: 977, REJ: 1939, SF: 215, S2: 330, OTH: 15, RSTR: 4, RSTO: 29, S1: 3 },
    dns: 2,
    ignored: { 'event-alert': 745, 'event-http': 56, 'event-fileinfo': 3, 'event-anomaly': 3 },
  },
  'test9-mixed-zeek-dir__conn.log': {
    kind: 'zeek',
    counts: [576, 63460, 63646068],
    states: { S0: 41, SF: 291, RSTO: 157, S1: 85, S3: 2 },
  },
  'test9-mixed-zeek-dir__dns.log': {
    kind: 'zeek',
    counts: [239, 0, 0],
    states: { SF: 190, S0: 49 },
    dns: 158,
  },
  'test9-mixed-zeek-dir__ssl.log': { kind: 'zeek', counts: [205, 0, 0], states: { OTH: 205 }, sni: 89 },
};

test('reads every sample of Zeek, Suricata and Argus with the counts that the samples have', async (t) => {
  const folder = requireData(t, 'zeek-suricata-argus-samples');
  if (folder === undefined) return;
  for (const [name, sample] of Object.entries(SAMPLES)) {
    const source = await openFlowSource(join(folder, `${name}.gz`));
    const states: Record<string, number> = {};
    const [dns, sni] = [new Set<string>(), new Set<string>()];
    for await (const batch of source.batches()) {
      for (const flow of batch.records()) {
        states[flow.state] = (states[flow.state] ?? 0) + 1;
        for (const each of flow.names?.dns ?? []) dns.add(each);
        if (flow.names?.sni !== undefined) sni.add(flow.names.sni);
      }
    }
    const { flows, packets, bytes, ignored, malformed, limits } = source.counters;
    assert.deepEqual(
      { kind: source.kind, counts: [flows, packets, bytes], states, dns: dns.size, sni: sni.size, ignored },
      { dns: 0, sni: 0, ignored: {}, ...sample },
      name,
    );
    assert.deepEqual([malformed, limits], [{}, {}], name);
  }
});
