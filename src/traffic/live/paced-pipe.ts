import { execFile } from 'node:child_process';
import { constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Bytes, Milliseconds } from '../../base/index.ts';

type Chunk = Uint8Array<ArrayBuffer>;

/** A read that gave less leaves the pipe alone for a while, so that many small writes become one large read. */
const FULL: Bytes = 1 << 15;
const PAUSE: Milliseconds = 1;

/** A pipe of the kernel, whose end for writing goes to a child. */
export interface Pipe {
  /** A file descriptor, to be closed when the child has it. */
  readonly writer: number;
  readonly reader: PacedReader;
}

/**
 * Makes a pipe. What Node itself gives a child is a socket, in which each small write costs a buffer of its own: a few
 * hundred packets fill it. A pipe joins them, 64 KiB of packets at a time.
 */
export async function openPipe(): Promise<Pipe> {
  const folder = await mkdtemp(join(tmpdir(), 'guardian-live-'));
  try {
    const path = join(folder, 'packets');
    await promisify(execFile)('mkfifo', ['-m', '600', path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path, constants.O_WRONLY);
    return { writer, reader: new PacedReader(reader) };
  } finally {
    // Both ends are open: the name is needed no more.
    await rm(folder, { recursive: true });
  }
}

/** Reads a pipe when asked to, and no further ahead than one chunk. */
export class PacedReader {
  readonly #socket: Socket;
  #chunk: Chunk | undefined;
  #hasEnded = false;
  #wasFull = true;
  #wake = () => {};

  /** Takes over the file descriptor. */
  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.pause();
    this.#socket.on('data', (chunk: Chunk) => {
      this.#socket.pause();
      this.#chunk = this.#chunk === undefined ? chunk : Buffer.concat([this.#chunk, chunk]);
      this.#wake();
    });
    for (const event of ['end', 'error', 'close']) {
      this.#socket.on(event, () => {
        this.#hasEnded = true;
        this.#wake();
      });
    }
  }

  /** The next bytes; `silent` where nothing came within `patience`, `undefined` at the end. */
  async read(patience: Milliseconds): Promise<Chunk | 'silent' | undefined> {
    if (!this.#wasFull) await new Promise((resolve) => setTimeout(resolve, PAUSE));
    if (this.#chunk === undefined && !this.#hasEnded) {
      this.#socket.resume();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, patience);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const chunk = this.#chunk;
    this.#chunk = undefined;
    if (chunk === undefined) return this.#hasEnded ? undefined : 'silent';
    this.#wasFull = chunk.length >= FULL;
    return chunk;
  }

  close(): void {
    this.#socket.destroy();
  }
}
