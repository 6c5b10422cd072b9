import { readFileSync } from 'node:fs';
import type { LoadResult } from './load.ts';
import type { PinnedProcess } from './pinned-process.ts';

/** What took time from a run that the server did not take, shares of the time of the core it is held to. */
export interface Disturbance {
  /** CPU time of other processes on the server's core. */
  readonly others: number;
  /** The hypervisor's: time that the core was ready and did not run. */
  readonly steal: number;
}

/** A generator that was later than this at p99 measured itself, ms. */
const LAG_MS = 3;
/** Shares above which a run says more of the machine than of the server. */
const OTHERS = 0.05;
const STEAL = 0.02;

/**
 * Fields of a core in /proc/stat, clock ticks. What processes took is in `user`, `nice` and `system`; interrupts stand apart, and
 * are mostly those of the connections that are measured.
 */
const OF_PROCESSES = [0, 1, 2];
const STOLEN = 7;
const TICKS = 100;

/** Watches the core of a server from now on; what is handed back ends it. */
export function watchCore(core: number, server: PinnedProcess): () => Disturbance {
  const began = performance.now();
  const before = readCore(core);
  const cpuBefore = server.cpuS();
  return () => {
    const seconds = (performance.now() - began) / 1_000;
    const { busy, steal } = readCore(core);
    const others = (busy - before.busy) / TICKS - (server.cpuS() - cpuBefore);
    return { others: Math.max(0, others) / seconds, steal: (steal - before.steal) / TICKS / seconds };
  };
}

/** Why a run says little of the server; undefined where it does. Slowness of the server is never a reason. */
export function disturbedBy(result: LoadResult, { others, steal }: Disturbance): string | undefined {
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
  if (result.lagP99 > LAG_MS) return `the generator was late by ${result.lagP99} ms`;
  if (others > OTHERS) return `others took ${percent(others)} of the core`;
  return steal > STEAL ? `the hypervisor took ${percent(steal)} of the core` : undefined;
}

function readCore(core: number): { readonly busy: number; readonly steal: number } {
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`cpu${core} `));
  const ticks = (line ?? '').split(' ').slice(1, 9).map(Number);
  const busy = OF_PROCESSES.reduce((sum, i) => sum + (ticks[i] ?? 0), 0);
  return { busy, steal: ticks[STOLEN] ?? 0 };
}
