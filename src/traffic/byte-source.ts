import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';
import { type Bytes, GuardianError } from '../base/index.ts';
import { TrafficError } from './errors.ts';

type Chunk = Uint8Array<ArrayBuffer>;

/** Bytes looked at to tell one format from another. */
const HEAD: Bytes = 4096;
const READ_SIZE: Bytes = 1 << 18;
/** Compressed bytes taken at once: they become at most about 1,000 times as many, and share the fate of a damage. */
const INFLATE_SIZE: Bytes = 1 << 12;

/** The content of a file or stream, gunzipped where it was gzip, with its first bytes known. */
export interface ByteSource {
  /** Up to 4,096 first bytes; shorter only where the content is. */
  readonly head: Uint8Array;
  /** The whole content, `head` included, in chunks of any size. Read once. */
  readonly chunks: AsyncIterable<Chunk>;
  /** Ends the reading early; `chunks` then ends without an error. */
  stop(): void;
  /** The file that holds just this content, where there is one: it may be read instead of `chunks`. */
  readonly file?: string;
  /** Whether it goes on until `stop`, after which what was captured or read until then still comes. */
  readonly lingers?: boolean;
}

/**
 * Opens a path, `-` for standard input, or a stream of bytes. Gzip is told by its magic bytes; a gzip stream that
 * is cut short gives what there is, and one that is damaged ends there and calls `onDamage`. Throws
 * `traffic.source-missing` and, while reading, `traffic.read-failed`.
 */
export async function openBytes(
  from: string | AsyncIterable<Uint8Array>,
  onDamage: (code: string) => void,
): Promise<ByteSource> {
  const name = typeof from === 'string' ? (from === '-' ? 'standard input' : from) : 'the stream';
  const raw = typeof from === 'string' ? await openPath(from) : Readable.from(from);
  const compressed = new Peeked(wrapFailures(raw, name));
  if (!isGzip(await compressed.head(2))) {
    const head = await compressed.head(HEAD);
    const stop = () => raw.destroy();
    const isFile =
      typeof from === 'string' && from !== '-' && (await stat(from).catch(() => undefined))?.isFile();
    return { head, chunks: compressed, stop, ...(isFile === true && { file: from }) };
  }
  const content = new Peeked(inflate(compressed, onDamage));
  return { head: await content.head(HEAD), chunks: content, stop: () => raw.destroy() };
}

/**
 * Gunzips piece by piece, so that what comes before a damage is read and a small input cannot become a large one in
 * memory. With a sync flush at the end a stream that is cut short is no error.
 */
async function* inflate(
  compressed: AsyncIterable<Chunk>,
  onDamage: (code: string) => void,
): AsyncGenerator<Chunk> {
  const gunzip = createGunzip({ chunkSize: READ_SIZE, finishFlush: constants.Z_SYNC_FLUSH });
  const inflated: Chunk[] = [];
  let isDamaged = false;
  // Wakes whoever waits for a write or the end: after an error the stream calls nobody back.
  let wake = () => {};
  gunzip.once('close', () => wake());
  gunzip.on('data', (chunk: Chunk) => inflated.push(chunk));
  gunzip.on('error', () => {
    isDamaged = true;
  });
  try {
    for await (const chunk of compressed) {
      for (let at = 0; at < chunk.length && !gunzip.destroyed; at += INFLATE_SIZE) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          gunzip.write(chunk.subarray(at, at + INFLATE_SIZE), () => resolve());
        });
        yield* inflated.splice(0);
      }
      if (gunzip.destroyed) break;
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (gunzip.closed) resolve();
      else gunzip.end();
    });
    yield* inflated.splice(0);
    if (isDamaged) onDamage('damaged-gzip');
  } finally {
    gunzip.destroy();
  }
}

async function openPath(path: string): Promise<Readable> {
  if (path === '-') return process.stdin;
  try {
    const info = await stat(path);
    if (info.isDirectory())
      throw new TrafficError('traffic.source-missing', `${path} is a folder, expected a file`);
  } catch (error) {
    if (error instanceof TrafficError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === 'ENOENT' || code === 'ENOTDIR' ? 'does not exist' : `cannot be opened (${code})`;
    throw new TrafficError('traffic.source-missing', `${path} ${why}`, { cause: error });
  }
  return createReadStream(path, { highWaterMark: READ_SIZE });
}

async function* wrapFailures(raw: Readable, name: string): AsyncGenerator<Chunk> {
  try {
    for await (const chunk of raw) yield chunk;
  } catch (error) {
    // What makes the bytes says itself why it does not.
    if (isPremature(error)) return;
    if (error instanceof GuardianError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EACCES' || code === 'EPERM') {
      throw new TrafficError('traffic.source-missing', `${name} may not be read (${code})`, { cause: error });
    }
    throw new TrafficError('traffic.read-failed', `reading ${name} failed (${code})`, { cause: error });
  }
}

/** Whether a stream ended because we destroyed it. */
function isPremature(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ABORT_ERR';
}

function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/** A stream whose first bytes can be looked at before it is read. */
class Peeked implements AsyncIterable<Chunk> {
  readonly #source: AsyncIterator<Chunk>;
  #seen: Chunk[] = [];
  #length = 0;

  constructor(source: AsyncIterable<Chunk>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async head(length: number): Promise<Uint8Array> {
    while (this.#length < length) {
      const next = await this.#source.next();
      if (next.done === true) break;
      this.#seen.push(next.value);
      this.#length += next.value.length;
    }
    const first = this.#seen[0] ?? new Uint8Array(0);
    return (first.length >= length ? first : Buffer.concat(this.#seen)).subarray(0, length);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk> {
    try {
      const seen = this.#seen;
      this.#seen = [];
      yield* seen;
      for (;;) {
        const next = await this.#source.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await this.#source.return?.();
    }
  }
}
