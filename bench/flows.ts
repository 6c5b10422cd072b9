import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sharedDataPath } from '../test/support/requires.ts';
import { makeFlowCapture } from './support/flow-captures.ts';
import { capturesBelow, type FlowPeer, flowPeers } from './support/flow-peers.ts';
import { measureProcess } from './support/measured-process.ts';
import { reportBench } from './support/report.ts';

/**
 * Packets to features against other flow meters, each a process of its own: CPU seconds and peak memory, in turn, on a
 * capture with many flows open at once and on one with few.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, peers: { type: 'string', default: '' } },
});
const runs = Number(values.runs);

const SCRIPT = fileURLToPath(new URL('./support/flow-features.mjs', import.meta.url));
/** What must be reached on the capture with many flows, peer / ours. */
const TARGETS: Readonly<Record<string, number>> = { softflowd: 2, nfpcapd: 3, argus: 5, nfstream: 8 };
const SHAPES = [
  { capture: 'many flows', copies: 22, addressSets: 22, mostRuns: 5 },
  { capture: 'few flows', copies: 22, addressSets: 2, mostRuns: 2 },
] as const;

const data = sharedDataPath('pcap');
if (data === undefined) throw new Error('needs the captures of ../shared/data/pcap, or GUARDIAN_DATA');
const files = capturesBelow(data);
const missing: string[] = [];
const asked = values.peers === '' ? undefined : values.peers.split(',');
const peers = (await flowPeers(missing)).filter(({ name }) => asked?.includes(name) ?? true);
if (missing.length > 0) process.stdout.write(`not here: ${missing.join('; ')}\n`);

const ours = (name: string, schema: string): FlowPeer => ({
  name,
  version: process.version,
  run: async (capture) => {
    const measured = await measureProcess(process.execPath, [SCRIPT, capture, '--schema', schema]);
    if (measured.code !== 0) throw new Error(measured.output);
    return { ...measured, flows: Number(/"flows":(\d+)/.exec(measured.output)?.[1]) };
  },
});
const programs = [ours('ours', 'flow'), ours('ours, meter only', 'none'), ...peers];

const rows: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
for (const shape of SHAPES) {
  const capture = makeFlowCapture(files, shape);
  const taken = new Map<string, { cpu: number[]; memory: number; flows: number }>();
  // In turn, so that all meet the same machine. First the file is read into the page cache, by us.
  for (let run = 0; run <= Math.min(runs, shape.mostRuns); run++) {
    for (const program of programs) {
      if (run === 0 && program !== programs[0]) continue;
      // One that is slow sees many flows alone.
      const { rounds = runs } = program;
      if (rounds < runs && (run > rounds || shape.capture !== 'many flows')) continue;
      const { code, cpuS, memoryMiB, flows, output } = await program.run(capture);
      if (code !== 0) throw new Error(`${program.name} ended with ${code}: ${output.slice(-500)}`);
      const seen = taken.get(program.name) ?? { cpu: [], memory: 0, flows };
      if (run > 0) seen.cpu.push(cpuS);
      seen.memory = Math.max(seen.memory, memoryMiB);
      taken.set(program.name, seen);
    }
  }
  const own = median(taken.get('ours')?.cpu ?? []);
  for (const { name, version } of programs) {
    const seen = taken.get(name);
    if (seen === undefined) continue;
    const cpuS = median(seen.cpu);
    const { flows, memory } = seen;
    rows.push({
      capture: shape.capture,
      program: name,
      version,
      cpuS: Number(cpuS.toFixed(2)),
      peakMiB: Math.round(memory),
      runs: seen.cpu.length,
      ...(Number.isFinite(flows) && { flows }),
    });
    process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`);
    if (shape.capture === 'many flows' && !name.startsWith('ours')) {
      ratios[name] = Number((cpuS / own).toFixed(2));
    }
  }
}
await reportBench({
  bench: 'flows',
  rows,
  ratios,
  passed: Object.entries(TARGETS).every(([name, target]) => (ratios[name] ?? target) >= target),
});

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}
