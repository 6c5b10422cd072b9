import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Bytes } from '../base/index.ts';
import type { SecretBuffer } from '../crypto/index.ts';
import { StorageError } from './errors.ts';

export type ZfsTool = 'zfs' | 'zpool';

/** How a program ended. */
export interface ZfsAnswer {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The same of one that streamed: `bytes` went through, and nothing else came on its standard output. */
export interface ZfsStreamAnswer {
  readonly rc: number;
  readonly stderr: string;
  readonly bytes: Bytes;
}

/**
 * Runs the ZFS programs. The one that is used calls them without a shell; the tests have one that records and one that
 * replays. An exit code other than 0 is an answer; `storage.zfs-unavailable` is thrown where the program is missing.
 */
export interface ZfsRunner {
  /** `secret` goes in by standard input and stays the caller's. */
  run(tool: ZfsTool, args: readonly string[], secret?: SecretBuffer): Promise<ZfsAnswer>;
  /** What the program writes goes to `to`, which is ended. */
  read(args: readonly string[], to: Writable): Promise<ZfsStreamAnswer>;
  /** What comes from `from` goes in. */
  write(args: readonly string[], from: Readable): Promise<ZfsStreamAnswer>;
}

/** Programs are looked for in the system's own folders alone. */
const SYSTEM_FOLDERS = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';
const MAX_OUTPUT_BYTES = 64 << 20;
const MAX_STDERR_LENGTH = 4_096;

class SystemZfsRunner implements ZfsRunner {
  readonly #env: Readonly<Record<string, string>>;

  constructor(folders: string) {
    this.#env = { PATH: folders, LC_ALL: 'C' };
  }

  run(tool: ZfsTool, args: readonly string[], secret?: SecretBuffer): Promise<ZfsAnswer> {
    return new Promise((resolve, reject) => {
      const options = { env: this.#env, encoding: 'utf8' as const, maxBuffer: MAX_OUTPUT_BYTES };
      const child = execFile(tool, [...args], options, (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') reject(unavailable(tool, error));
        else resolve({ rc: error === null ? 0 : Number(error.code), stdout, stderr });
      });
      // A program that ends before it has read its input is told about by its exit code.
      child.stdin?.on('error', () => {});
      if (secret === undefined) child.stdin?.end();
      else secret.use((bytes) => child.stdin?.end(bytes));
    });
  }

  async read(args: readonly string[], to: Writable): Promise<ZfsStreamAnswer> {
    const child = spawn('zfs', [...args], { env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] });
    const [answer, bytes] = await Promise.all([endOf(child), count(child.stdout, to)]);
    return { ...answer, bytes };
  }

  async write(args: readonly string[], from: Readable): Promise<ZfsStreamAnswer> {
    const child = spawn('zfs', [...args], { env: this.#env, stdio: ['pipe', 'ignore', 'pipe'] });
    const copied = count(from, child.stdin).catch((error: unknown) => {
      // The program ended before it had read everything; its exit code says why.
      if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return 0;
      throw error;
    });
    const [answer, bytes] = await Promise.all([endOf(child), copied]);
    return { ...answer, bytes };
  }
}

/** `folders`: where programs are looked for, joined by colons. */
export function createZfsRunner(folders: string = SYSTEM_FOLDERS): ZfsRunner {
  return new SystemZfsRunner(folders);
}

async function count(from: Readable, to: Writable): Promise<Bytes> {
  let bytes = 0;
  await pipeline(
    from,
    async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    },
    to,
  );
  return bytes;
}

async function endOf(child: ChildProcess): Promise<{ rc: number; stderr: string }> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < MAX_STDERR_LENGTH) stderr += text;
  });
  try {
    const [code] = await once(child, 'close');
    return { rc: typeof code === 'number' ? code : 128, stderr };
  } catch (cause) {
    throw unavailable('zfs', cause);
  }
}

function unavailable(tool: ZfsTool, cause: unknown): StorageError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  if (code === 'ENOENT' || code === 'EACCES') {
    return new StorageError('storage.zfs-unavailable', `the program ${tool} is not installed`, { cause });
  }
  return new StorageError('storage.zfs-failed', `the program ${tool} could not be run (${code})`, { cause });
}
