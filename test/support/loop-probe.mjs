import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/** Loaded into a process by `--import`: writes how late its event loop is, from the first minute on, to the file that LOOP_PROBE names. */
const RESOLUTION_MS = 10;
const file = process.env.LOOP_PROBE;
if (isMainThread && file !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  // What starting up costs is no delay of a request.
  setTimeout(() => delay.reset(), 20_000).unref();
  // What is recorded holds the time between two looks.
  const late = (value) => Math.max(0, value / 1e6 - RESOLUTION_MS);
  setInterval(() => {
    const [p50, p99, max] = [delay.percentile(50), delay.percentile(99), delay.max].map(late);
    // Whole at any moment it is read.
    writeFileSync(`${file}.new`, JSON.stringify({ p50, p99, max, count: delay.count }));
    renameSync(`${file}.new`, file);
  }, 2_000).unref();
}
