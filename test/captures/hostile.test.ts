import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { FlowMeter } from '../../src/traffic/meter/flow-meter.ts';
import { requireData } from '../support/requires.ts';
import { TEST_SEED } from '../support/seed.ts';
import { flipBits, HostileReading, synFlood, truncate } from './hostile.ts';
import { captureNames } from './one-capture.ts';

/** Larger ones are left to `npm run campaign -- packets`, which takes 128 inputs of each capture. */
const LARGEST = 100_000;

test('reads captures that were cut or had bits flipped as the twin does, and nothing beside them', {
  timeout: 300_000,
}, (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined) return;
  const random = new SeededRandom(TEST_SEED);
  const reading = new HostileReading(random);
  for (const name of captureNames(root)) {
    const capture = new Uint8Array(readFileSync(join(root, name)));
    if (capture.length > LARGEST) continue;
    try {
      for (const flips of [1, 16]) reading.read(flipBits(capture, flips, random));
      reading.read(truncate(capture, random));
    } catch (error) {
      assert.fail(`${name}, seed ${TEST_SEED}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  assert.ok(reading.inputs > 7_000);
  t.diagnostic(`${reading.inputs} inputs, ${reading.packets} packets, ${reading.flows} flows`);
});

test('keeps established connections through a flood of SYNs, counts what was lost, and stays in its limit', () => {
  const result = synFlood(new FlowMeter({ maxFlows: 20_000 }), 300_000);
  assert.equal(result.handedOut, 301_000);
  assert.equal(result.survived, 1_000);
  assert.ok(result.mostOpen <= 20_000);
  assert.ok(result.evicted > 270_000 && result.limited === result.evicted);
});
