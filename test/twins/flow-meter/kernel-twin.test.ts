import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { captureNames, readCapture } from '../../captures/one-capture.ts';
import { ipv4, udp } from '../../support/packets.ts';
import { requireData } from '../../support/requires.ts';
import { TEST_SEED } from '../../support/seed.ts';
import { makeKernel } from './meters.ts';
import { SideBySide } from './side-by-side.ts';
import { meterTrace, traces } from './traces.ts';

test('the kernel equals the twin on every capture, flow by flow and in order', {
  timeout: 300_000,
}, (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined) return;
  const names = captureNames(root);
  let [packets, flows] = [0, 0];
  for (const [i, name] of names.entries()) {
    // Every other one as an ordinary user meters, the rest with everything cut short and all payloads looked at.
    const meters = new SideBySide(makeKernel, i % 2 === 0 ? {} : SHORT);
    readCapture(join(root, name), (bytes, offset, end, linkType, timeMs, wireLength) =>
      meters.add(bytes.subarray(offset, end), linkType, timeMs, wireLength),
    );
    try {
      meters.finish();
    } catch (error) {
      assert.fail(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    packets += meters.packets;
    flows += meters.flows;
  }
  assert.ok(names.length >= 2438 && packets > 100_000);
  t.diagnostic(`${names.length} captures, ${packets} packets, ${flows} flows`);
});

const SHORT = {
  idleTimeoutMs: 2_000,
  attemptTimeoutMs: 500,
  activeTimeoutMs: 3_000,
  tcpLingerMs: 100,
  idlePeriodMs: 200,
  maxFlows: 40,
  payloadEntropy: true,
  maxNamedFlows: 3,
};

/** `npm run campaign -- packets` takes a million and more. */
const PACKETS = 60_000;

test('the kernel equals the twin on generated packets, whatever the options and the chunks', {
  timeout: 300_000,
}, (t) => {
  let [packets, flows] = [0, 0];
  for (let round = 0; packets < PACKETS; round++) {
    const each = fc.property(traces(400), (trace) => {
      const meters = meterTrace(makeKernel, trace);
      packets += meters.packets;
      flows += meters.flows;
    });
    fc.assert(each, { numRuns: 25, seed: TEST_SEED + round });
  }
  t.diagnostic(`${packets} packets, ${flows} flows, seed ${TEST_SEED}`);
});

test('the kernel equals the twin under a flood at one time stamp and when the table is full', () => {
  const packet = ipv4('10.0.0.1', '10.0.0.2', 17, udp(1, 2));
  const view = new DataView(packet.buffer);
  const meters = new SideBySide(makeKernel, { maxFlows: 2_000 });
  for (let i = 0; i < 60_000; i++) {
    view.setUint32(12, Math.imul(i, 2_654_435_761));
    meters.add(packet, 101, i < 50_000 ? 5 : i, packet.length);
    if (i % 5_000 === 0) meters.check();
  }
  meters.finish();
  assert.equal(meters.flows, 60_000);
});
