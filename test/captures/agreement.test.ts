import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FlowRecord, openFlowSource } from '../../src/traffic/index.ts';
import { requireData, requireTool } from '../support/requires.ts';
import { compareFlows, EXPLAINED, RULES, WHOLE } from './agreement.ts';
import { AGREEMENT_CAPTURES } from './agreement-list.ts';
import { meterIndependently } from './independent-meter.ts';
import { captureNames, oneCapture } from './one-capture.ts';

test('agrees with tshark on packets, bytes, times, flags, lengths and intervals of every flow of all captures', {
  timeout: 300_000,
}, async (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined || !requireTool(t, 'tshark')) return;
  const names = captureNames(root);
  const folder = mkdtempSync(join(tmpdir(), 'guardian-agreement-'));
  try {
    const one = oneCapture(root, names);
    const path = join(folder, 'all.pcapng');
    writeFileSync(path, one.bytes);
    const theirs = await meterIndependently(path, one.interfaces);
    assert.ok(theirs.size >= 2400, `expected 2,400 captures with packets, got ${theirs.size}`);
    const differences: string[] = [];
    const explained = new Set<string>();
    const rules = new Set<string>();
    let flows = 0;
    for (const [name, result] of theirs) {
      for (const rule of result.rules.keys()) rules.add(rule);
      flows += result.flows.size;
      for (const [key, text] of compareFlows(await ourFlows(join(root, name)), result)) {
        if (EXPLAINED[name] === undefined) differences.push(`${name}: ${key}: ${text}`);
        else explained.add(name);
      }
    }
    assert.deepEqual(differences, []);
    assert.deepEqual(
      [...explained].sort(),
      Object.keys(EXPLAINED).sort(),
      'an explanation that explains nothing',
    );
    assert.deepEqual(
      [...rules].filter((rule) => RULES[rule] === undefined),
      [],
    );
    t.diagnostic(`${theirs.size} captures, ${flows} flows, ${explained.size} captures explained`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('agrees with tshark where it reads the capture files itself', { timeout: 300_000 }, async (t) => {
  const root = requireData(t, 'pcap');
  if (root === undefined || !requireTool(t, 'tshark')) return;
  // Every eighth of the list; `npm run campaign -- agreement` reads all captures.
  const names = AGREEMENT_CAPTURES.filter((_, i) => i % 8 === 0);
  for (const name of names) {
    const path = join(root, name);
    const [theirs] = (await meterIndependently(path)).values();
    const differences = theirs === undefined ? [] : compareFlows(await ourFlows(path), theirs);
    if (EXPLAINED[name] === undefined) assert.deepEqual(differences, [], name);
  }
});

async function ourFlows(path: string): Promise<FlowRecord[]> {
  const source = await openFlowSource(path, WHOLE);
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches()) flows.push(...batch.records());
  return flows;
}
