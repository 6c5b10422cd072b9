import type { Readable, Writable } from 'node:stream';
import type { Bytes } from '../base/index.ts';
import type { SecretBuffer } from '../crypto/index.ts';
import { StorageError, type StorageErrorCode } from './errors.ts';
import type { ZfsRunner, ZfsTool } from './zfs-runner.ts';

/** Calls with the exit code judged and the output taken apart. Throws `storage.zfs-*`. */
export class ZfsCommands {
  readonly #runner: ZfsRunner;

  constructor(runner: ZfsRunner) {
    this.#runner = runner;
  }

  async run(tool: ZfsTool, args: readonly string[], secret?: SecretBuffer): Promise<string> {
    const { rc, stdout, stderr } = await this.#runner.run(tool, args, secret);
    if (rc !== 0) throw zfsFailure(`${tool} ${args[0]}`, rc, stderr);
    return stdout;
  }

  /** Lines of a `-Hp` listing, each `columns` fields wide. */
  async rows(tool: ZfsTool, args: readonly string[], columns: number): Promise<readonly string[][]> {
    const text = await this.run(tool, args);
    const rows = text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
    if (rows.some((row) => row.length !== columns)) {
      throw new StorageError(
        'storage.zfs-output-unexpected',
        `expected lines of ${columns} fields of ${tool} ${args[0]}`,
      );
    }
    return rows;
  }

  /** Properties of one dataset or snapshot; one that is not set is absent. Undefined where there is no such dataset. */
  async properties(
    dataset: string,
    names: readonly string[],
  ): Promise<ReadonlyMap<string, string> | undefined> {
    try {
      const args = ['get', '-Hp', '-o', 'property,value', names.join(','), dataset];
      const rows = await this.rows('zfs', args, 2);
      return new Map(rows.flatMap(([name = '', value = '']) => (value === '-' ? [] : [[name, value]])));
    } catch (error) {
      if (isZfsError(error, 'storage.zfs-dataset-missing')) return undefined;
      throw error;
    }
  }

  async read(args: readonly string[], to: Writable): Promise<Bytes> {
    const { rc, stderr, bytes } = await this.#runner.read(args, to);
    if (rc !== 0) throw zfsFailure(`zfs ${args[0]}`, rc, stderr);
    return bytes;
  }

  async write(args: readonly string[], from: Readable): Promise<Bytes> {
    const { rc, stderr, bytes } = await this.#runner.write(args, from);
    if (rc !== 0) throw zfsFailure(`zfs ${args[0]}`, rc, stderr);
    return bytes;
  }
}

export function isZfsError(error: unknown, code: StorageErrorCode): boolean {
  return error instanceof StorageError && error.code === code;
}

/** What OpenZFS 2.1 says on standard error; the first that fits counts. */
const FAILURES: readonly (readonly [RegExp, StorageErrorCode])[] = [
  [/Incorrect key provided/, 'storage.zfs-key-wrong'],
  [/encryption key not loaded|key must be loaded|Key not loaded/i, 'storage.zfs-key-unloaded'],
  [/is busy|it's being held/i, 'storage.zfs-busy'],
  [/does not exist|no such pool|could not find any snapshots/i, 'storage.zfs-dataset-missing'],
  [/already exists|exists\n?$/i, 'storage.zfs-dataset-exists'],
  [/modules (?:are|is) not loaded|modules cannot be auto-loaded|\/dev\/zfs/, 'storage.zfs-unavailable'],
  [/permission denied|insufficient privileges|must be run as root/i, 'storage.zfs-denied'],
];

/** A key never stands in what these programs write, so that it may be told. */
export function zfsFailure(what: string, rc: number, stderr: string): StorageError {
  const code = FAILURES.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'storage.zfs-failed';
  const said = stderr.trim().replaceAll(/\s+/g, ' ').slice(0, 300);
  return new StorageError(code, `${what} ended with ${rc}: ${said === '' ? 'no reason given' : said}`);
}
