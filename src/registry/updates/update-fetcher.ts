import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fetcher } from 'tuf-js';
import { DownloadHTTPError, DownloadLengthMismatchError } from 'tuf-js/dist/error.js';
import type { Bytes, Milliseconds } from '../../base/index.ts';

/** No metadata file is longer, whatever other metadata say of it. */
export const MAX_METADATA_BYTES: Bytes = 5_000_000;

/**
 * Fetches over HTTP within a length and a time, both for the whole file: a server that never ends, or drips, is left.
 * Redirects are not followed. Errors are tuf-js's own, which tell an absent root from a broken one.
 */
export class UpdateFetcher implements Fetcher {
  readonly #scratch: string;
  readonly #timeoutMs: Milliseconds;
  /** Whether a file could not be had at all: no answer, not in time, or a status that is not 2xx. */
  failed: string | undefined;

  constructor(scratch: string, timeoutMs: Milliseconds) {
    this.#scratch = scratch;
    this.#timeoutMs = timeoutMs;
  }

  async downloadBytes(url: string, maxLength: Bytes): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    await this.#read(url, Math.min(maxLength, MAX_METADATA_BYTES), async (chunk) => {
      chunks.push(chunk);
    });
    return Buffer.concat(chunks);
  }

  async downloadFile<T>(url: string, maxLength: Bytes, handler: (file: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(this.#scratch, 'download-'));
    try {
      const path = join(folder, 'file');
      const handle = await open(path, 'wx', 0o600);
      try {
        await this.#read(url, maxLength, async (chunk) => {
          await handle.writeFile(chunk);
        });
        await handle.sync();
      } finally {
        await handle.close();
      }
      return await handler(path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #read(url: string, maxLength: Bytes, take: (chunk: Uint8Array) => Promise<void>): Promise<void> {
    const response = await this.#get(url);
    let length = 0;
    const reader = response.getReader();
    try {
      for (;;) {
        const { done, value } = await this.#watch(reader.read());
        if (done) return;
        length += value.length;
        if (length > maxLength) {
          throw new DownloadLengthMismatchError(`expected at most ${maxLength} bytes, the server sent more`);
        }
        await take(value);
      }
    } finally {
      // Leaves the connection where the body is not at its end.
      await reader.cancel().catch(() => {});
    }
  }

  async #get(url: string): Promise<ReadableStream<Uint8Array>> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const response = await this.#watch(fetch(url, { signal, redirect: 'error' }));
    if (response.ok && response.body !== null) return response.body;
    await response.body?.cancel().catch(() => {});
    if (![403, 404].includes(response.status)) this.failed = `status ${response.status}`;
    throw new DownloadHTTPError(`the server answered ${response.status}`, response.status);
  }

  async #watch<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      this.failed = cause instanceof Error ? cause.message : String(cause);
      throw error;
    }
  }
}
