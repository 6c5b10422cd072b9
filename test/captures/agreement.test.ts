import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFlowSource } from '../../src/traffic/index.ts';
import { requireData, requireTool } from '../support/requires.ts';
import { AGREEMENT_CAPTURES } from './agreement-list.ts';
import { flowKey, type IndependentResult, meterIndependently } from './independent-meter.ts';

/** Nothing splits a flow, so that each five-tuple is one. */
const WHOLE = {
  idleTimeoutMs: Number.POSITIVE_INFINITY,
  attemptTimeoutMs: Number.POSITIVE_INFINITY,
  activeTimeoutMs: Number.POSITIVE_INFINITY,
  splitAtTcpEnd: false,
};
/** Two readings of a time to the microsecond, as doubles since 1970. */
const DURATION_TOLERANCE_MS = 0.002;

/** Why a packet is in no flow, or its bytes are not compared; a rule not named here fails the test. */
const RULES: Readonly<Record<string, string>> = {
  'not IP': 'no IP layer: both leave it out',
  'IP inside a carrier that is not read':
    'MPLS, frame relay, 802.11 and the like: tshark looks inside, we count it as ignored',
  'IP length beyond the wire':
    'the header claims more than was sent: tshark dissects on, a receiver drops it, we count it as malformed',
  'later fragment': 'has no ports: tshark would reassemble, we count it as fragment',
  'broken IP header': 'tshark finds no addresses, we count it as malformed',
  'broken extension header': 'the IPv6 chain runs out of bytes, we count it as malformed',
  'more extension headers than we follow': 'we stop after 16 and count it as malformed',
  'broken transport header':
    'tshark finds no ports, or a TCP header below 20 bytes or beyond its packet; we count it as malformed',
  'IP length 0': 'segmentation offload or a jumbogram: tshark reports 0 bytes, we count the wire length',
};

/** Flows that differ, by capture and key, each with its reason. */
const EXPLAINED: Readonly<Record<string, string>> = {
  'suricata-verify/bug-7414-decoder-event-01__ip_secopt.pcap 17 20.20.20.20#5060 30.30.30.30#5060':
    'tshark stops at a broken IP security option and sees no UDP header; the header length is right, so we go on',
};

test('agrees with tshark on packets, bytes and duration per flow and direction', {
  timeout: 300_000,
}, async (t) => {
  const folder = requireData(t, 'pcap');
  if (folder === undefined || !requireTool(t, 'tshark')) return;
  assert.ok(AGREEMENT_CAPTURES.length >= 200);
  const differences: string[] = [];
  const usedRules = new Set<string>();
  const explained = new Set<string>();
  let flows = 0;
  const queue = [...AGREEMENT_CAPTURES];
  const work = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const theirs = await meterIndependently(join(folder, name));
      for (const rule of theirs.rules.keys()) usedRules.add(rule);
      for (const [key, text] of await compare(join(folder, name), theirs)) {
        if (`${name} ${key}` in EXPLAINED) explained.add(`${name} ${key}`);
        else differences.push(`${name}: ${key}: ${text}`);
      }
      flows += theirs.flows.size;
    }
  };
  await Promise.all([work(), work()]);
  assert.deepEqual(differences, []);
  assert.deepEqual(
    [...usedRules].filter((rule) => RULES[rule] === undefined),
    [],
  );
  assert.deepEqual(
    [...explained].sort(),
    Object.keys(EXPLAINED).sort(),
    'an explanation that explains nothing',
  );
  t.diagnostic(
    `${AGREEMENT_CAPTURES.length} captures, ${flows} flows; rules used: ${[...usedRules].join(', ')}`,
  );
});

/** The flows that differ: key and what differs. */
async function compare(path: string, theirs: IndependentResult): Promise<(readonly [string, string])[]> {
  const differences: (readonly [string, string])[] = [];
  const missing = new Set(theirs.flows.keys());
  const source = await openFlowSource(path, WHOLE);
  for await (const batch of source.batches()) {
    for (const flow of batch.records()) {
      const ends = [
        flow.sourceAddress,
        String(flow.sourcePort),
        flow.destinationAddress,
        String(flow.destinationPort),
      ];
      const [a = '', aPort = '', b = '', bPort = ''] = ends;
      const { key, from } = flowKey(flow.protocol, a, aPort, b, bPort);
      const to = flowKey(flow.protocol, b, bPort, a, aPort).from;
      missing.delete(key);
      const twin = theirs.flows.get(key);
      if (twin === undefined) {
        differences.push([key, 'not in tshark']);
        continue;
      }
      // A flow from an endpoint to itself has one direction only.
      const sides =
        from === to
          ? [[from, flow.forward] as const]
          : [[from, flow.forward] as const, [to, flow.backward] as const];
      for (const [endpoint, ours] of sides) {
        const sum = twin.directions.get(endpoint) ?? { packets: 0, bytes: 0 };
        const sameBytes = twin.hasUnknownLength || sum.bytes === ours.bytes;
        if (sum.packets === ours.packets && sameBytes) continue;
        differences.push([
          key,
          `from ${endpoint} ${ours.packets}/${ours.bytes}, tshark ${sum.packets}/${sum.bytes}`,
        ]);
      }
      const duration = twin.lastMs - twin.firstMs;
      if (Math.abs(flow.endMs - flow.startMs - duration) > DURATION_TOLERANCE_MS) {
        differences.push([key, `lasts ${flow.endMs - flow.startMs} ms, tshark ${duration}`]);
      }
    }
  }
  for (const key of missing) differences.push([key, 'only in tshark']);
  return differences;
}
