import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** Clock ticks of /proc a second. */
const TICKS = 100;

/** A process and its children held to one core. */
export interface PinnedProcess {
  readonly child: ChildProcess;
  /** User and system time so far, all threads, s. */
  cpuS(): number;
  /** Resident memory now, MiB. */
  memoryMiB(): number;
  /** Ends it and waits. */
  stop(): Promise<void>;
}

/** Starts a command by `taskset`, which becomes it: the child's id is the command's own. */
export function startPinned(
  core: number,
  command: readonly string[],
  options: {
    readonly cwd?: string;
    readonly environment?: Readonly<Record<string, string | undefined>>;
    readonly stdio?: 'ipc';
  } = {},
): PinnedProcess {
  const child = spawn('taskset', ['-c', String(core), ...command], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, ...options.environment },
    stdio: options.stdio === 'ipc' ? ['ignore', 'inherit', 'inherit', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    serialization: 'advanced',
  });
  return {
    child,
    cpuS: () => {
      const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
      // Behind the name, which may hold anything, in brackets.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS;
    },
    memoryMiB: () => {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGINT');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}
