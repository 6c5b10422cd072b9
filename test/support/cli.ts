import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../../src/cli/run-command-line.ts';

/** Where one test's guardian keeps everything. */
export interface Home {
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The JSON objects of stdout, one a line. */
  readonly objects: readonly Record<string, unknown>[];
}

/** A fresh folder for state and configuration; nothing of the user's is touched. */
export async function makeHome(): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), 'guardian-home-'));
  return {
    folder,
    environment: {
      HOME: folder,
      XDG_STATE_HOME: join(folder, 'state'),
      XDG_CONFIG_HOME: join(folder, 'config'),
      PATH: process.env.PATH ?? '',
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Runs one command line in this process. */
export async function guardian(
  home: Home,
  args: readonly string[],
  options: { readonly environment?: Record<string, string>; readonly signal?: AbortSignal } = {},
): Promise<CommandResult> {
  const stdout = new Collected();
  const stderr = new Collected();
  const exitCode = await runCommandLine(args, {
    environment: { ...home.environment, ...options.environment },
    stdout,
    stderr,
    signal: options.signal ?? new AbortController().signal,
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text, objects: parseLines(stdout.text) };
}

/** Runs one command line in a process of its own without coverage: counting lines makes training several times slower. */
export async function guardianApart(
  home: Home,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  // Given, though empty: Node hands its own down where it is not.
  const uncounted = { ...home.environment, ...environment, NODE_V8_COVERAGE: '' };
  const child = startGuardian({ ...home, environment: uncounted }, args);
  const [stdout, stderr] = [new Collected(), new Collected()];
  child.stdout?.pipe(stdout);
  child.stderr?.pipe(stderr);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  if (code === null) throw new Error(`ended by ${signal}: ${stderr.text}`);
  return { exitCode: code, stdout: stdout.text, stderr: stderr.text, objects: parseLines(stdout.text) };
}

/** Starts a command in a process of its own; the caller ends it. */
export function startGuardian(home: Home, args: readonly string[]): ChildProcess {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  return spawn(process.execPath, [main, ...args], {
    env: home.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The first JSON object of the type on the child's stdout. Rejects when it ends before. */
export function waitForObject(child: ChildProcess, type: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    let text = '';
    let errors = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.once('exit', (code) => reject(new Error(`ended with ${code} before ${type}: ${errors}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const found = parseLines(text.slice(0, text.lastIndexOf('\n') + 1)).find((each) => each.type === type);
      if (found !== undefined) resolve(found);
    });
  });
}

/** Resolves to the exit code. */
export function waitForExit(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

function parseLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => /^\{.*\}$/.test(line))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

class Collected extends Writable {
  #chunks: Buffer[] = [];

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }
}
