import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Bytes, Milliseconds } from '../base/index.ts';
import type { ByteSource } from './byte-source.ts';
import { TrafficError } from './errors.ts';
import { Polling } from './polling.ts';
import { readOn } from './read-on.ts';

type Chunk = Uint8Array<ArrayBuffer>;

export interface FollowOptions {
  /** How often the file is looked at once its end is reached. */
  readonly pollMs: Milliseconds;
  /** Ends the following, also the wait for its beginning. */
  readonly signal?: AbortSignal;
  /** Told of what happened to the file: `file-rotated`, `file-truncated`. */
  readonly onEvent: (code: 'file-rotated' | 'file-truncated') => void;
}

export const FOLLOW_DEFAULTS: FollowOptions = { pollMs: 250, onEvent: () => {} };

/** A piece of a followed file. */
export interface FollowedChunk {
  readonly bytes: Chunk;
  /** Whether it is the beginning of another file than the piece before: after a rotation or a truncation. */
  readonly isNewFile: boolean;
}

const HEAD: Bytes = 4096;
/** First bytes by which every binary format is told, and pcap's header is whole. */
const BINARY_HEAD: Bytes = 24;

/**
 * A file that grows, byte for byte in the order it was written, also across its rotation: when another file has its
 * name, the old one is read to its end first, then the new one from its beginning. A file that is shorter than what
 * was read of it was truncated and is read from its beginning. Not noticed is a file that was truncated and has
 * grown past that point again, and one that had the name only between two looks. Throws `traffic.source-missing`
 * where there is no file at the start (later its absence is waited out) and `traffic.read-failed`.
 */
export class FollowedFile {
  readonly #path: string;
  readonly #options: FollowOptions;
  readonly #polling: Polling;

  constructor(path: string, options: Partial<FollowOptions> = {}) {
    this.#path = path;
    this.#options = { ...FOLLOW_DEFAULTS, ...options };
    const { signal, pollMs } = this.#options;
    this.#polling = new Polling(pollMs);
    if (signal?.aborted === true) this.stop();
    signal?.addEventListener('abort', () => this.stop(), { once: true });
  }

  /** Ends the following; what was written before is still handed out to the end of the read in hand. */
  stop(): void {
    this.#polling.stop();
  }

  async *chunks(): AsyncGenerator<FollowedChunk> {
    let file = await this.#open();
    if (file === undefined) {
      throw new TrafficError(
        'traffic.source-missing',
        `${this.#path} does not exist, expected a file to follow`,
      );
    }
    let position = 0;
    let isNewFile = false;
    try {
      while (!this.#polling.isStopped) {
        const bytes = await readOn(file, position, this.#path);
        if (bytes.length > 0) {
          position += bytes.length;
          yield { bytes, isNewFile };
          isNewFile = false;
          continue;
        }
        const next: FileHandle | 'truncated' | undefined = await this.#change(file, position);
        if (next === undefined) {
          await this.#polling.pause();
          continue;
        }
        if (next !== 'truncated') {
          // Whoever wrote may have gone on after the name was taken away: what came since is read first.
          for (;;) {
            const rest = await readOn(file, position, this.#path);
            if (rest.length === 0) break;
            position += rest.length;
            yield { bytes: rest, isNewFile };
            isNewFile = false;
          }
          await file.close();
          file = next;
        }
        this.#options.onEvent(next === 'truncated' ? 'file-truncated' : 'file-rotated');
        position = 0;
        isNewFile = true;
      }
    } finally {
      await file.close();
    }
  }

  /** The file that has the name now where it is another one, 'truncated', or undefined where all is as it was. */
  async #change(file: FileHandle, position: number): Promise<FileHandle | 'truncated' | undefined> {
    const own = await file.stat({ bigint: true });
    if (own.size < position) return 'truncated';
    const named = await stat(this.#path, { bigint: true }).catch(() => undefined);
    if (named === undefined || (named.ino === own.ino && named.dev === own.dev)) return undefined;
    return await this.#open();
  }

  async #open(): Promise<FileHandle | undefined> {
    try {
      return await open(this.#path, 'r');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new TrafficError('traffic.read-failed', `expected to open ${this.#path}`, { cause });
    }
  }
}

/**
 * A followed file as bytes to read flows from, once its beginning is there (a line, or the header of a capture). The
 * files that take the name one after the other become one: a line that the old file left open is ended, and the
 * header of a pcap that is the same as before is left out. Followed files are not gunzipped.
 */
export async function openFollowed(path: string, options: Partial<FollowOptions> = {}): Promise<ByteSource> {
  const file = new FollowedFile(path, options);
  const pieces = file.chunks();
  const begun: FollowedChunk[] = [];
  let head: Chunk = new Uint8Array(0);
  while (!isTold(head)) {
    const next = await pieces.next();
    if (next.done === true) break;
    begun.push(next.value);
    head = Buffer.concat([head, next.value.bytes]);
  }
  const isPcap = isBinary(head);
  return { head: head.subarray(0, HEAD), chunks: join(), stop: () => file.stop(), lingers: true };

  async function* join(): AsyncGenerator<Chunk> {
    let last = 0x0a;
    /** Bytes of a new pcap that may still be its header. */
    let header: Chunk | undefined;
    async function* all(): AsyncGenerator<FollowedChunk> {
      yield* begun;
      yield* pieces;
    }
    for await (const { bytes, isNewFile } of all()) {
      if (isNewFile && isPcap) header = new Uint8Array(0);
      else if (isNewFile && last !== 0x0a) yield new Uint8Array([0x0a]);
      last = bytes.at(-1) ?? last;
      if (header === undefined) {
        yield bytes;
        continue;
      }
      header = Buffer.concat([header, bytes]);
      if (header.length < BINARY_HEAD) continue;
      const isSame = Buffer.compare(header.subarray(0, BINARY_HEAD), head.subarray(0, BINARY_HEAD)) === 0;
      const rest: Chunk = isSame ? header.subarray(BINARY_HEAD) : header;
      header = undefined;
      if (rest.length > 0) yield rest;
    }
  }
}

/** Whether enough is there to tell the format. */
function isTold(head: Chunk): boolean {
  if (head.length >= HEAD) return true;
  return isBinary(head) ? head.length >= BINARY_HEAD : head.includes(0x0a);
}

function isBinary(head: Chunk): boolean {
  return head.length > 0 && head.subarray(0, 4).some((byte) => byte < 0x09 || byte > 0x7e);
}
