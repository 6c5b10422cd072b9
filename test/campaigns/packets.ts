import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import fc from 'fast-check';
import { SeededRandom } from '../../src/base/index.ts';
import { FlowMeter } from '../../src/traffic/meter/flow-meter.ts';
import { flipBits, HostileReading, synFlood, truncate } from '../captures/hostile.ts';
import { captureNames } from '../captures/one-capture.ts';
import { sharedDataPath } from '../support/requires.ts';
import { makeKernel } from '../twins/flow-meter/meters.ts';
import { meterTrace, traces } from '../twins/flow-meter/traces.ts';

/**
 * Hostile packets against the meter's kernel, each step compared with the naive twin: every capture cut at 64 random
 * places and with bits flipped 64 times (one bit, two, up to 64); at least a million structured packets, some of
 * their bits flipped, for some minutes; a flood of SYNs. A thread does the work and tells what it is at; where it is
 * silent for a minute, that is a hang. `--seed N`, `--minutes N`, `--per-capture N`, `--attempts N`.
 */

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '20261123' },
    minutes: { type: 'string', default: '10' },
    'per-capture': { type: 'string', default: '64' },
    attempts: { type: 'string', default: '5000000' },
  },
});
const SILENCE_MS = 60_000;
/** Of the whole process: captures, twin, kernels and the flood's 200,000 flows. */
const RSS_LIMIT_MIB = 1_024;
const MILLION = 1_000_000;

interface Progress {
  /** What is being done; printed where it hangs. */
  readonly at?: string;
  /** A line for the reader. */
  readonly line?: string;
}

process.exitCode = isMainThread ? await watch() : work();

/** Starts the worker and ends with 1 where it fails, falls silent or takes too much memory. */
async function watch(): Promise<number> {
  const worker = new Worker(import.meta.filename, { workerData: values, argv: process.argv.slice(2) });
  let at = 'the start';
  let heard = performance.now();
  const watchdog = setInterval(() => {
    if (performance.now() - heard < SILENCE_MS) return;
    process.stderr.write(`hang at ${at}\n`);
    void worker.terminate();
  }, 1_000);
  worker.on('message', (progress: Progress) => {
    heard = performance.now();
    at = progress.at ?? at;
    if (progress.line !== undefined) process.stdout.write(`${progress.line}\n`);
  });
  const code = await new Promise<number>((resolve) => {
    worker.on('error', (error) => {
      process.stderr.write(`at ${at}: ${error instanceof Error ? error.stack : String(error)}\n`);
    });
    worker.on('exit', resolve);
  });
  clearInterval(watchdog);
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${Math.round((user + system) / 1e6)} CPU s, at most ${peakMiB} MiB resident\n`);
  return code === 0 && peakMiB <= RSS_LIMIT_MIB ? 0 : 1;
}

function work(): number {
  const options = workerData as typeof values;
  const seed = Number(options.seed);
  tell({ line: `seed ${seed}` });
  flood(Number(options.attempts));
  cutAndFlip(seed, Number(options['per-capture']));
  fuzz(seed, Number(options.minutes) * 60_000);
  return 0;
}

function tell(progress: Progress): void {
  parentPort?.postMessage(progress);
}

function flood(attempts: number): void {
  tell({ at: 'the flood' });
  const before = process.memoryUsage().rss;
  const maxFlows = 200_000;
  const result = synFlood(new FlowMeter({ maxFlows }), attempts);
  const grownMiB = Math.round((process.memoryUsage().rss - before) / 2 ** 20);
  tell({
    line: `flood: ${attempts} SYNs, at most ${result.mostOpen} flows open, ${result.evicted} evicted and counted, ${result.handedOut} flows handed out, ${result.survived} of 1,000 established survived, ${grownMiB} MiB more`,
  });
  const isWhole = result.handedOut === attempts + 1_000 && result.limited === result.evicted;
  if (!isWhole || result.survived !== 1_000 || result.mostOpen > maxFlows) {
    throw new Error('the flood was not withstood');
  }
}

function cutAndFlip(seed: number, perCapture: number): void {
  const root = sharedDataPath('pcap');
  if (root === undefined) throw new Error('needs the data pcap');
  const random = new SeededRandom(seed);
  let [inputs, packets, flows, captures] = [0, 0, 0, 0];
  for (const name of captureNames(root)) {
    const capture = new Uint8Array(readFileSync(join(root, name)));
    const reading = new HostileReading(random);
    for (let i = 1; i <= perCapture; i++) {
      tell({ at: `${name}, input ${reading.inputs}` });
      reading.read(truncate(capture, random));
      reading.read(flipBits(capture, i, random));
    }
    inputs += reading.inputs;
    packets += reading.packets;
    flows += reading.flows;
    captures++;
    if (captures % 500 === 0) tell({ line: `${captures} captures, ${inputs} inputs` });
  }
  tell({
    line: `cut and flipped: ${captures} captures, ${inputs} inputs, ${packets} packets, ${flows} flows`,
  });
}

/** Structured packets for some time, and a million at least. */
function fuzz(seed: number, milliseconds: number): void {
  const started = performance.now();
  let [packets, flows, rounds] = [0, 0, 0];
  while (packets < MILLION || performance.now() - started < milliseconds) {
    fc.assert(
      fc.property(traces(500), (trace) => {
        tell({ at: `round ${rounds}` });
        const meters = meterTrace(makeKernel, trace);
        packets += meters.packets;
        flows += meters.flows;
      }),
      { numRuns: 200, seed: seed + rounds },
    );
    rounds++;
    if (rounds % 50 === 0) tell({ line: `${packets} generated packets` });
  }
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  tell({
    line: `generated: ${packets} packets, ${flows} flows, seeds ${seed} to ${seed + rounds - 1}, ${minutes} minutes`,
  });
}
