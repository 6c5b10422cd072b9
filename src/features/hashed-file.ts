import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type Digest, GuardianError } from '../base/index.ts';
import { FeatureError } from './errors.ts';

const CHUNK = 256 * 1024;

/**
 * A file read once, gunzipped where it is gzip, and hashed on its way: the digest names exactly the bytes that
 * were parsed. A gzip that is cut short is an error, since a table that lost its end must not train a model.
 */
export class HashedFile {
  readonly path: string;
  /** Why reading failed: `features.table-unreadable`. A consumer that wraps errors of its input rethrows this. */
  failure: FeatureError | undefined;
  readonly #hash = createHash('sha256');

  readonly #bytes: AsyncIterable<Uint8Array> | undefined;

  /** `bytes`: what is read in place of the file's own. */
  constructor(path: string, bytes?: AsyncIterable<Uint8Array>) {
    this.path = path;
    this.#bytes = bytes;
    this.failure = undefined;
  }

  /** The uncompressed bytes. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#uncompressed()) {
        this.#hash.update(chunk);
        yield chunk;
      }
    } catch (cause) {
      // What opens the bytes says itself why it does not.
      if (this.#bytes !== undefined && cause instanceof GuardianError) throw cause;
      const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
      const message = `${this.path}: cannot be read (${reason})`;
      this.failure = new FeatureError('features.table-unreadable', message, { cause });
      throw this.failure;
    }
  }

  /** Of the uncompressed bytes; once, after the last chunk. */
  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`;
  }

  async *#uncompressed(): AsyncGenerator<Uint8Array> {
    const source: AsyncIterable<Uint8Array> =
      this.#bytes ?? createReadStream(this.path, { highWaterMark: CHUNK });
    const chunks = source[Symbol.asyncIterator]();
    try {
      const first = await chunks.next();
      if (first.done) return;
      const isGzip = first.value[0] === 0x1f && first.value[1] === 0x8b;
      const whole = joined(first.value, chunks);
      yield* isGzip ? gunzipped(whole) : whole;
    } finally {
      await chunks.return?.();
    }
  }
}

async function* joined(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* gunzipped(compressed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK });
  pipeline(compressed, gunzip, () => {}); // an error of either side ends the iteration below with it
  yield* gunzip as AsyncIterable<Uint8Array>;
}
