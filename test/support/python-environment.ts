import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { miss, requireTool } from './requires.ts';

export interface Ended {
  readonly code: number;
  readonly output: string;
}

/** A virtual environment and what is installed in it. */
export interface PythonEnvironment {
  readonly name: string;
  readonly packages: readonly string[];
}

/** The reference implementations of signed models and of updates, and a dependency that one uses and does not declare. */
export const SIGNING: PythonEnvironment = {
  name: 'signing',
  packages: [
    ...['model-signing==1.1.1', 'pyOpenSSL==26.4.0'],
    ...['tuf==7.0.1', 'securesystemslib==1.6.0', 'cryptography==50.0.2'],
  ],
};

/** Whoever else trains, converts and explains trees. */
export const TREES: PythonEnvironment = {
  name: 'trees',
  packages: [
    ...['lightgbm==4.7.0', 'scikit-learn==1.9.1', 'xgboost-cpu==3.2.0', 'shap==0.49.1'],
    ...['onnxmltools==1.16.0', 'skl2onnx==1.20.0', 'onnx==1.23.2', 'packaging'],
  ],
};

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
 * The Python of a virtual environment, made at the first call. Where that cannot be, the test is skipped, or fails under
 * CI=true; the caller returns at once on `undefined`.
 */
export async function requirePython(
  t: TestContext,
  environment: PythonEnvironment,
): Promise<string | undefined> {
  if (!requireTool(t, 'python3')) return undefined;
  const made = await makePython(environment);
  if (typeof made === 'string') return made;
  miss(t, made.reason);
  return undefined;
}

/** The same for a bench: says why it could not be made. Test files that share one wait for whoever makes it. */
export async function makePython({
  name,
  packages,
}: PythonEnvironment): Promise<string | { readonly reason: string }> {
  const folder = join(FOLDER, name);
  const python = join(folder, 'bin', 'python');
  // Stands there only once every package is in, and names them.
  const done = join(folder, 'packages');
  const wanted = packages.join('\n');
  const isMade = () => existsSync(done) && readFileSync(done, 'utf8') === wanted;
  if (isMade()) return python;
  mkdirSync(FOLDER, { recursive: true });
  const lock = `${folder}.lock`;
  while (!take(lock)) await sleep(200);
  try {
    if (isMade()) return python;
    rmSync(folder, { recursive: true, force: true });
    const steps: readonly (readonly [string, readonly string[]])[] = [
      ['python3', ['-m', 'venv', folder]],
      // Compiled are only the modules that are used, at their first use: most never are.
      [
        python,
        ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile', ...packages],
      ],
    ];
    for (const [program, args] of steps) {
      const { code, output } = await runProgram(program, args);
      if (code === 0) continue;
      rmSync(folder, { recursive: true, force: true });
      return { reason: `could not install ${packages.join(' and ')}: ${output.trim().split('\n').at(-1)}` };
    }
    writeFileSync(done, wanted);
    return python;
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Whether the lock is now ours; one whose owner has ended is free. */
function take(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  try {
    const owner = readFileSync(lock, 'utf8');
    // Empty for the moment between its making and its writing.
    if (owner !== '') process.kill(Number(owner), 0);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') rmSync(lock, { force: true });
    else if (code !== 'ENOENT' && code !== 'EPERM') throw error;
  }
  return false;
}
