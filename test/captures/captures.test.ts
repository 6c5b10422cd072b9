import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFlowSource, type SourceCounters } from '../../src/traffic/index.ts';
import { requireData } from '../support/requires.ts';

const FOLDERS = ['ndpi', 'slips', 'suricata-verify', 'tcpdump'];

test('meters every capture of the shared data to its end, and names what is malformed', {
  timeout: 120_000,
}, async (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined) return;
  const malformed = new Map<string, number>();
  let files = 0;
  let packets = 0;
  let flows = 0;
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(root, folder)).sort()) {
      const source = await openFlowSource(join(root, folder, name));
      let metered = 0;
      for await (const batch of source.batches()) {
        flows += batch.rows;
        for (const flow of batch.records()) {
          metered += flow.forward.packets + flow.backward.packets;
          assert.ok(flow.startMs <= flow.endMs, `${name}: a flow ends before it starts`);
          assert.ok(flow.forward.packets + flow.backward.packets > 0, `${name}: a flow without a packet`);
        }
      }
      assert.equal(
        accountedFor(source.counters, metered),
        source.counters.packets,
        `${name}: packets unaccounted for`,
      );
      for (const [code, count] of Object.entries(source.counters.malformed)) {
        assert.match(code, /^[a-z0-9]+(-[a-z0-9]+)+$/);
        malformed.set(code, (malformed.get(code) ?? 0) + count);
      }
      files++;
      packets += source.counters.packets;
    }
  }
  assert.ok(files >= 2438, `expected the 2,438 captures of the shared data, got ${files}`);
  assert.ok(malformed.size >= 10, 'the shared data holds many kinds of malformed packets');
  const named = [...malformed].map(([code, count]) => `${code} ${count}`).join(', ');
  t.diagnostic(`${files} captures, ${packets} packets, ${flows} flows; malformed: ${named}`);
});

/** Faults of the file itself; each is no packet. */
const FILE_FAULTS = new Set(
  ['pcap-header', 'packet-record', 'block', 'block-length', 'gzip'].flatMap((what) => [
    `truncated-${what}`,
    `oversized-${what}`,
    `invalid-${what}`,
    `mismatched-${what}`,
    `damaged-${what}`,
  ]),
);

/** Every packet is metered, a fragment, ignored or malformed; what a tunnel could not be opened for is one of the first. */
function accountedFor(counters: SourceCounters, metered: number): number {
  let sum = metered + counters.fragments;
  for (const [code, count] of [...Object.entries(counters.ignored), ...Object.entries(counters.malformed)]) {
    if (!FILE_FAULTS.has(code) && !code.startsWith('inner-')) sum += count;
  }
  return sum;
}
