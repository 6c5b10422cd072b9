import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Bytes } from '../../base/index.ts';
import { TrafficError } from '../errors.ts';
import { PcapBoundaries } from '../pcap-boundaries.ts';

export interface RecordOptions {
  /** The first file; those that follow it are called `FILE.1`, `FILE.2` and so on. */
  readonly path: string;
  /** A file of pcap is ended at the first packet beyond this size, and the next one begun. */
  readonly fileBytes: Bytes;
  /** Files kept; the oldest goes for a new one. */
  readonly files: number;
}

export const RECORD_DEFAULTS = { fileBytes: 1 << 30, files: 16 } as const;

/**
 * Writes the bytes of a capture as they came, so that nothing of it is rounded or lost. pcap is cut between two packets
 * into files of a size, each with the header of the first; pcapng is one file, and ends at that size. A disk that is
 * full, or another refusal to write, ends the recording and nothing else: `lost` counts from then on the bytes that
 * were not written, by name: `record`. Not durable: no fsync.
 */
export class CaptureRecord {
  readonly #options: RecordOptions;
  readonly #lost: Record<string, number>;
  readonly #boundaries = new PcapBoundaries();
  #file: FileHandle | undefined;
  /** Bytes of the file at hand, and number of the file. */
  #size = 0;
  #number = 0;
  /** Why the recording ended early. */
  failure: string | undefined;
  /** Bytes written, all files together. */
  bytes = 0;

  private constructor(options: RecordOptions, lost: Record<string, number>, file: FileHandle) {
    this.#options = options;
    this.#lost = lost;
    this.#file = file;
  }

  /** Throws `traffic.record-exists` and `traffic.record-failed`. */
  static async open(
    options: Partial<RecordOptions> & Pick<RecordOptions, 'path'>,
    lost: Record<string, number>,
  ): Promise<CaptureRecord> {
    try {
      const file = await open(options.path, 'wx', 0o600);
      return new CaptureRecord({ ...RECORD_DEFAULTS, ...options }, lost, file);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'EEXIST')
        throw new TrafficError('traffic.record-exists', `${options.path} exists`, { cause });
      throw new TrafficError('traffic.record-failed', `${options.path} cannot be made (${code})`, { cause });
    }
  }

  /** Takes the next bytes of the capture. Never throws. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#file === undefined) {
      this.#lose(chunk.length);
      return;
    }
    let written = 0;
    try {
      // Cut at the last boundary that fits: one cut a chunk is enough, a chunk is far smaller than a file.
      const cut = this.#cutIn(chunk);
      if (cut !== undefined) {
        await this.#put(chunk.subarray(0, cut));
        written = cut;
        await this.#next();
      }
      await this.#put(chunk.subarray(written));
    } catch (error) {
      await this.#fail((error as NodeJS.ErrnoException).code ?? 'unknown', chunk.length - written);
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }

  /** Takes the file away again, where the capture did not come about. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.#options.path, { force: true });
  }

  /** Where the file at hand is to end within `chunk`; undefined where it goes on. */
  #cutIn(chunk: Uint8Array): number | undefined {
    const room = this.#options.fileBytes - this.#size;
    let cut: number | undefined;
    this.#boundaries.push(chunk, (offset) => {
      if (cut === undefined || offset <= room) cut = offset;
    });
    return this.#size + chunk.length > this.#options.fileBytes ? cut : undefined;
  }

  async #put(bytes: Uint8Array): Promise<void> {
    if (this.#size + bytes.length > this.#options.fileBytes && !this.#boundaries.isSound) {
      throw Object.assign(new RangeError(), { code: 'size limit' });
    }
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await (this.#file as FileHandle).write(bytes, at);
      at += bytesWritten;
      this.#size += bytesWritten;
      this.bytes += bytesWritten;
    }
  }

  async #next(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    const { path, files } = this.#options;
    this.#number++;
    this.#file = await open(`${path}.${this.#number}`, 'wx', 0o600);
    const oldest = this.#number - files;
    if (oldest >= 0) await rm(oldest === 0 ? path : `${path}.${oldest}`, { force: true });
    this.#size = 0;
    await this.#put(this.#boundaries.header);
  }

  async #fail(why: string, bytes: number): Promise<void> {
    this.failure = why;
    this.#lose(bytes);
    await this.close();
  }

  #lose(bytes: number): void {
    this.#lost.record = (this.#lost.record ?? 0) + bytes;
  }
}
