import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { Detection } from '../detection.ts';
import { AlertsError } from '../errors.ts';
import type { FileSinkConfig } from './config.ts';
import { formatNotice, type NoticeSink } from './sink.ts';

const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;

/**
 * JSON lines in a file of mode 0600: each is one write at its end, and is on the disk before its notice is forgotten. From
 * `maxBytes` on `path` becomes `path.1`, that `path.2`, and so on. A line that a crash cut off is followed by a whole one.
 */
export class FileSink implements NoticeSink {
  readonly name: string;
  /** One file, one line after the other. */
  readonly concurrency = 1;
  readonly #config: FileSinkConfig;
  #file: FileHandle;
  #bytes: number;
  /** Until something else has ended: a file that is written is not changed for another. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(config: FileSinkConfig, file: FileHandle, bytes: number) {
    this.name = config.name;
    this.#config = config;
    this.#file = file;
    this.#bytes = bytes;
  }

  static async open(config: FileSinkConfig): Promise<FileSink> {
    const { file, bytes } = await openAtEnd(config.path);
    return new FileSink(config, file, bytes);
  }

  send(detection: Detection): Promise<void> {
    const line = Buffer.from(`${formatNotice(detection, this.#config.format)}\n`, 'utf8');
    return this.#inTurn(async () => {
      if (this.#bytes > 0 && this.#bytes + line.length > this.#config.maxBytes) await this.#rotate();
      const { bytesWritten } = await this.#file.write(line);
      this.#bytes += bytesWritten;
      // A full disk: what is half written is ended, and the notice written again.
      if (bytesWritten < line.length) {
        await this.#reopen();
        throw new AlertsError('alerts.sink-failed', `${bytesWritten} of ${line.length} bytes were written`);
      }
    });
  }

  settle(): Promise<void> {
    return this.#inTurn(() => this.#file.datasync());
  }

  /** For what moves the file away by itself. */
  reload(): Promise<void> {
    return this.#inTurn(() => this.#reopen());
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#file.close());
  }

  async #rotate(): Promise<void> {
    const { path, files } = this.#config;
    await this.#file.datasync();
    await rm(`${path}.${files}`, { force: true });
    for (let n = files - 1; n >= 0; n--) {
      const from = n === 0 ? path : `${path}.${n}`;
      await rename(from, `${path}.${n + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
    await this.#reopen();
  }

  async #reopen(): Promise<void> {
    const before = this.#file;
    const { file, bytes } = await openAtEnd(this.#config.path);
    this.#file = file;
    this.#bytes = bytes;
    await before.datasync();
    await before.close();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => undefined);
    return done;
  }
}

async function openAtEnd(path: string): Promise<{ file: FileHandle; bytes: number }> {
  const file = await open(path, FLAGS, 0o600);
  const { size } = await file.stat();
  if (size === 0) return { file, bytes: 0 };
  const last = Buffer.alloc(1);
  await file.read(last, 0, 1, size - 1);
  if (last[0] === 0x0a) return { file, bytes: size };
  await file.write('\n');
  return { file, bytes: size + 1 };
}
