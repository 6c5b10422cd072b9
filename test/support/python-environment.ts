import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { miss, requireTool } from './requires.ts';

export interface Ended {
  readonly code: number;
  readonly output: string;
}

const FOLDER = fileURLToPath(new URL('../conformance/.venv', import.meta.url));

export function runProgram(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 300_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127;
      resolve({ code, output: stdout + stderr });
    });
  });
}

/**
 * The Python of a virtual environment with these packages, made at the first call. Where that cannot be, the test is
 * skipped, or fails under CI=true; the caller returns at once on `undefined`.
 */
export async function requirePython(
  t: TestContext,
  name: string,
  packages: readonly string[],
): Promise<string | undefined> {
  if (!requireTool(t, 'python3')) return undefined;
  const made = await makePython(name, packages);
  if (typeof made === 'string') return made;
  miss(t, made.reason);
  return undefined;
}

/** The same for a bench: says why it could not be made. */
export async function makePython(
  name: string,
  packages: readonly string[],
): Promise<string | { readonly reason: string }> {
  const environment = join(FOLDER, name);
  const python = join(environment, 'bin', 'python');
  // Stands there only once every package is in.
  const done = join(environment, 'pyvenv.complete');
  if (existsSync(done)) return python;
  rmSync(environment, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const steps: readonly (readonly [string, readonly string[]])[] = [
    ['python3', ['-m', 'venv', environment]],
    [python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]],
    [python, ['-c', `open(${JSON.stringify(done)}, 'w').close()`]],
  ];
  for (const [program, args] of steps) {
    const { code, output } = await runProgram(program, args);
    if (code === 0) continue;
    rmSync(environment, { recursive: true, force: true });
    return { reason: `could not install ${packages.join(' and ')}: ${output.trim().split('\n').at(-1)}` };
  }
  return python;
}
