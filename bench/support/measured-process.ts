import { spawn } from 'node:child_process';

export interface MeasuredProcess {
  readonly code: number;
  /** User and system time of the process and of what it waited for, s. */
  readonly cpuS: number;
  /** Largest resident memory, MiB. */
  readonly memoryMiB: number;
  readonly output: string;
}

/** Runs a command and, when it has ended, writes a line of its exit code, CPU seconds and KiB of memory. */
const WAIT = `
import os, signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
signal.signal(signal.SIGTERM, lambda *_: child.kill())
_, status, usage = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
`;

/** Longer than this and a program hangs. */
const LIMIT_MS = 300_000;

/** Runs a program to its end; what it writes to either stream is the output. Needs python3. */
export function measureProcess(program: string, args: readonly string[]): Promise<MeasuredProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn('python3', ['-c', WAIT, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
    });
    let line = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      line += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', () => {
      const [code = Number.NaN, cpuS = Number.NaN, kib = Number.NaN] = line.trim().split(' ').map(Number);
      resolve({ code, cpuS, memoryMiB: kib / 1024, output });
    });
  });
}
