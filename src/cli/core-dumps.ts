import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Whether a crash of this process could write its memory, and with it keys, to disk. Linux; undefined elsewhere. */
export interface CoreDumpState {
  /** Soft limit of a core file in bytes. */
  readonly limit: number;
  /** Bits of `/proc/self/coredump_filter`: which memory a dump would hold; 0 is none. */
  readonly filter: number;
  /** A program takes dumps, and then the kernel ignores every limit but 1 (core(5)). */
  readonly isPiped: boolean;
  readonly isOff: boolean;
}

/**
 * Turns core dumps of this process off as far as it can: no memory is written into one (`coredump_filter`), and the
 * limit becomes 1 byte, which stops files and, other than 0, programs in `core_pattern` too. Node cannot call setrlimit;
 * `prlimit` of util-linux does it from outside. Never throws: `guardian doctor` says what came of it.
 */
export async function turnCoreDumpsOff(): Promise<void> {
  if (process.platform !== 'linux') return;
  await writeFile('/proc/self/coredump_filter', '0').catch(() => {});
  const before = await readCoreDumps();
  if (before === undefined || before.limit === 1 || (before.limit === 0 && !before.isPiped)) return;
  await promisify(execFile)('prlimit', ['--pid', String(process.pid), '--core=1'], { timeout: 5_000 }).catch(
    () => {},
  );
}

export async function readCoreDumps(): Promise<CoreDumpState | undefined> {
  const [limits, filter, pattern] = await Promise.all(
    ['/proc/self/limits', '/proc/self/coredump_filter', '/proc/sys/kernel/core_pattern'].map((path) =>
      readFile(path, 'utf8').catch(() => ''),
    ),
  );
  const soft = /^Max core file size +(\d+|unlimited)/m.exec(limits ?? '')?.[1];
  if (soft === undefined) return undefined;
  const limit = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  const isPiped = (pattern ?? '').startsWith('|');
  const bits = /^[0-9a-f]+/.test(filter ?? '') ? Number.parseInt(filter ?? '', 16) : Number.NaN;
  return { limit, filter: bits, isPiped, isOff: limit === 1 || (limit === 0 && !isPiped) };
}
