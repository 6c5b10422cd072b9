import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { SecretBuffer } from '../../src/crypto/index.ts';
import type { ZfsAnswer, ZfsRunner, ZfsStreamAnswer, ZfsTool } from '../../src/storage/index.ts';

/** One call of a program and how it ended. Standard input is never kept: it holds keys and streams. */
export interface ZfsExchange {
  readonly tool: ZfsTool;
  readonly args: readonly string[];
  readonly rc: number;
  readonly stderr: string;
  /** Of a call that was read whole. */
  readonly stdout?: string;
  /** Of a stream: how many bytes went through. */
  readonly bytes?: number;
}

/** What the tests asked the programs and what these said, by test, in the order of the calls' beginnings. */
export interface ZfsTranscripts {
  readonly format: 'zfs transcripts, version 1';
  /** Of the machine that they were recorded on. */
  readonly versions: Readonly<Record<string, string>>;
  readonly tests: Readonly<Record<string, readonly ZfsExchange[]>>;
}

/** Passes calls on and keeps what was said. */
export class RecordingRunner implements ZfsRunner {
  readonly exchanges: (ZfsExchange | undefined)[] = [];
  readonly #inner: ZfsRunner;

  constructor(inner: ZfsRunner) {
    this.#inner = inner;
  }

  async run(tool: ZfsTool, args: readonly string[], secret?: SecretBuffer): Promise<ZfsAnswer> {
    const at = this.exchanges.push(undefined) - 1;
    const answer = await this.#inner.run(tool, args, secret);
    this.exchanges[at] = { tool, args, ...answer };
    return answer;
  }

  async read(args: readonly string[], to: Writable): Promise<ZfsStreamAnswer> {
    return await this.#stream(args, () => this.#inner.read(args, to));
  }

  async write(args: readonly string[], from: Readable): Promise<ZfsStreamAnswer> {
    return await this.#stream(args, () => this.#inner.write(args, from));
  }

  async #stream(args: readonly string[], work: () => Promise<ZfsStreamAnswer>): Promise<ZfsStreamAnswer> {
    const at = this.exchanges.push(undefined) - 1;
    const answer = await work();
    this.exchanges[at] = { tool: 'zfs', args, ...answer };
    return answer;
  }
}

/** Where the pools of a recording are mounted. */
export const RECORDED_MOUNTS = '/ag/';

/**
 * Answers with what was recorded, call for call: another call than the recorded one throws. Paths below `/ag/` stand for
 * paths below `folder`, where plain folders take the place of datasets; one whose unmounting was replayed is not mounted.
 */
export class ReplayRunner implements ZfsRunner {
  readonly #exchanges: readonly ZfsExchange[];
  readonly #folder: string;
  readonly #unmounted = new Set<string>();
  #next = 0;

  constructor(exchanges: readonly ZfsExchange[], folder: string) {
    this.#exchanges = exchanges;
    this.#folder = folder;
  }

  get isAtEnd(): boolean {
    return this.#next === this.#exchanges.length;
  }

  readonly isMounted = async (path: string): Promise<boolean> => {
    const dataset = path.slice(this.#folder.length);
    if ([...this.#unmounted].some((name) => `${dataset}/`.startsWith(`${name}/`))) return false;
    if (!existsSync(path)) mkdirSync(path, { recursive: true });
    return true;
  };

  async run(tool: ZfsTool, args: readonly string[]): Promise<ZfsAnswer> {
    const { rc, stdout = '', stderr } = this.#take(tool, args);
    const dataset = args.at(-1) ?? '';
    if (rc === 0 && args[0] === 'unmount') this.#unmounted.add(dataset);
    if (rc === 0 && args[0] === 'mount') this.#unmounted.delete(dataset);
    return { rc, stdout: stdout.replaceAll(RECORDED_MOUNTS, this.#folder), stderr };
  }

  async read(args: readonly string[], to: Writable): Promise<ZfsStreamAnswer> {
    const { rc, stderr, bytes = 0 } = this.#take('zfs', args);
    to.end();
    return { rc, stderr, bytes };
  }

  async write(args: readonly string[], from: Readable): Promise<ZfsStreamAnswer> {
    const { rc, stderr, bytes = 0 } = this.#take('zfs', args);
    await pipeline(from, async (source: AsyncIterable<unknown>) => {
      for await (const _ of source);
    });
    return { rc, stderr, bytes };
  }

  #take(tool: ZfsTool, args: readonly string[]): ZfsExchange {
    const expected = this.#exchanges[this.#next++];
    const called = [tool, ...args].join(' ').replaceAll(this.#folder, RECORDED_MOUNTS);
    const recorded = expected === undefined ? 'nothing' : [expected.tool, ...expected.args].join(' ');
    if (expected === undefined || called !== recorded) {
      throw new Error(`call ${this.#next}: recorded ${recorded}, got ${called}; record again in the guest`);
    }
    return expected;
  }
}

/** Folder of a replay, with a closing slash; what `RECORDED_MOUNTS` stands for. */
export function replayFolder(folder: string): string {
  const path = join(folder, 'ag');
  mkdirSync(path, { recursive: true });
  return `${path}/`;
}
