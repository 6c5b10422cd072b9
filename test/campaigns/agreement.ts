import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openFlowSource } from '../../src/traffic/index.ts';
import { compareFlows, EXPLAINED_FILES, RULES, WHOLE } from '../captures/agreement.ts';
import { meterIndependently } from '../captures/independent-meter.ts';
import { captureNames } from '../captures/one-capture.ts';
import { sharedDataPath } from '../support/requires.ts';

/**
 * Every capture read by tshark from its own file and by our reader and kernel, flow by flow: packets, bytes, times,
 * flags, lengths, intervals, active periods and silences. `--every N` takes every Nth capture.
 */

const { values } = parseArgs({ options: { every: { type: 'string', default: '1' } } });

process.exitCode = await campaign(Number(values.every));

async function campaign(every: number): Promise<number> {
  const root = sharedDataPath('pcap');
  if (root === undefined) {
    process.stderr.write('needs the data pcap\n');
    return 1;
  }
  const names = captureNames(root).filter((_, i) => i % every === 0);
  const rules = new Map<string, number>();
  let [flows, packets, differing, unexplained] = [0, 0, 0, 0];
  for (const name of names) {
    const [theirs] = (await meterIndependently(join(root, name))).values();
    if (theirs === undefined) continue;
    const ours = await openFlowSource(join(root, name), WHOLE);
    const records = [];
    for await (const batch of ours.batches()) records.push(...batch.records());
    packets += ours.counters.packets;
    flows += theirs.flows.size;
    for (const [rule, count] of theirs.rules) rules.set(rule, (rules.get(rule) ?? 0) + count);
    const differences = compareFlows(records, theirs);
    if (differences.length > 0) differing++;
    if (differences.length === 0 || EXPLAINED_FILES[name] !== undefined) continue;
    unexplained++;
    for (const [key, text] of differences) process.stdout.write(`${name}: ${key}: ${text}\n`);
  }
  for (const [rule, count] of rules) process.stdout.write(`${count} packets: ${rule}: ${RULES[rule]}\n`);
  process.stdout.write(
    `${names.length} captures, ${packets} packets, ${flows} flows; ${differing} captures differ, ${unexplained} of them unexplained\n`,
  );
  const unknown = [...rules.keys()].filter((rule) => RULES[rule] === undefined);
  return unexplained === 0 && unknown.length === 0 ? 0 : 1;
}
