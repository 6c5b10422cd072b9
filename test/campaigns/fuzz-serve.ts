import { parseArgs } from 'node:util';
import { fuzzServe } from '../support/fuzz-serve.ts';

/**
 * A million nearly right requests: `--requests N`, `--seed N`. All but 7 % go to the server within this process, 2 % over
 * connections of their own and 5 % over gRPC. Ends at the first answer that is not planned.
 */
const { values } = parseArgs({
  options: { requests: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } },
});
const requests = Number(values.requests);
/** What the heap may grow from the tenth part of the run to its end. */
const HEAP_LIMIT_MIB = 32;

const before = process.cpuUsage();
const result = await fuzzServe({
  seed: Number(values.seed),
  injected: Math.floor(requests * 0.93),
  overSockets: Math.floor(requests * 0.02),
  overGrpc: Math.floor(requests * 0.05),
  onProgress: (sent) => process.stderr.write(`${sent} sent\n`),
});
const { user, system } = process.cpuUsage(before);
const passed = result.heapAfterMiB - result.heapBeforeMiB <= HEAP_LIMIT_MIB;
const told = {
  ...{ type: 'campaign.result', name: 'fuzz-serve', seed: Number(values.seed), ...result },
  peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  cpuSeconds: Math.round((user + system) / 1e6),
  passed,
};
process.stdout.write(`${JSON.stringify(told)}\n`);
if (!passed) process.exitCode = 1;
