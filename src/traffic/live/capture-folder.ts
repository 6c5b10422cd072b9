import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bytes, Milliseconds } from '../../base/index.ts';
import type { ByteSource } from '../byte-source.ts';
import { TrafficError } from '../errors.ts';
import { PcapBoundaries } from '../pcap-boundaries.ts';
import { isPcap } from '../pcap-header.ts';
import { isPcapng } from '../pcapng-reader.ts';
import { Polling } from '../polling.ts';
import { readOn } from '../read-on.ts';

type Chunk = Uint8Array<ArrayBuffer>;

export interface CaptureFolderOptions {
  /** Whether to wait for what is added, to the last file and as further files, until stopped. */
  readonly follow: boolean;
  /** How often the folder is looked at once all was read. */
  readonly pollMs: Milliseconds;
  /** Told of a packet that the end of a file cuts: `truncated-packet-record`. */
  readonly onFault: (code: string) => void;
}

const HEADER: Bytes = 24;
const NAMES = new Intl.Collator('en', { numeric: true });

/**
 * The captures of a folder as one, in the order of their names, numbers by value: what `tcpdump -G` or `-C` writes. A ring
 * that reuses names (`-W` with `-C`) is not followed. Files have to be plain pcap of one header, or pcapng; a packet
 * that the end of a file cuts is left out. Throws `traffic.source-missing` where there is none and nothing is waited
 * for; reading throws `traffic.follow-unsupported` for a file of another kind, and `traffic.read-failed`.
 */
export async function openCaptureFolder(folder: string, options: CaptureFolderOptions): Promise<ByteSource> {
  const reader = new FolderReader(folder, options);
  const chunks = reader.chunks();
  const first = await chunks.next();
  if (first.done === true) {
    throw new TrafficError('traffic.source-missing', `${folder} holds no captures`);
  }
  return {
    head: first.value,
    chunks: (async function* () {
      yield first.value;
      yield* chunks;
    })(),
    stop: () => reader.stop(),
    ...(options.follow && { lingers: true }),
  };
}

class FolderReader {
  readonly #folder: string;
  readonly #options: CaptureFolderOptions;
  readonly #polling: Polling;
  /** The first file's header; those of the others are left out. */
  #header: Chunk | undefined;

  constructor(folder: string, options: CaptureFolderOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#polling = new Polling(options.pollMs);
  }

  stop(): void {
    this.#polling.stop();
  }

  async *chunks(): AsyncGenerator<Chunk> {
    let name: string | undefined;
    while (!this.#polling.isStopped) {
      const next = await this.#after(name);
      if (next !== undefined) {
        name = next;
        yield* this.#file(next);
      } else if (this.#options.follow) await this.#polling.pause();
      else return;
    }
  }

  /** A file's packets to its end; its header only where it is the first. */
  async *#file(name: string): AsyncGenerator<Chunk> {
    const path = join(this.#folder, name);
    const boundaries = new PcapBoundaries();
    /** Bytes read and not handed out yet, from offset `start` of the file on. */
    let pending: Chunk = new Uint8Array(0);
    let [start, taken, whole] = [0, 0, 0];
    let isKnown = false;
    for await (const bytes of this.#pieces(name, path)) {
      const base = taken;
      boundaries.push(bytes, (offset) => {
        whole = base + offset;
      });
      taken += bytes.length;
      pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
      if (taken < HEADER) continue;
      if (!isKnown) {
        isKnown = true;
        const isFirst = this.#header === undefined;
        const isPcapFile = this.#takeHeader(path, pending.slice(0, HEADER));
        if (!isFirst && isPcapFile) {
          start = HEADER;
          pending = pending.subarray(HEADER);
        }
      }
      // pcapng has marks of its own to go on by, and what is damaged is the meter's to judge.
      const to = boundaries.isSound ? whole : taken;
      if (to <= start) continue;
      yield pending.subarray(0, to - start);
      pending = pending.slice(to - start);
      start = to;
    }
    if (pending.length > 0) this.#options.onFault('truncated-packet-record');
  }

  /** A file to its end: to where it stands once another follows it, or where nothing is waited for. */
  async *#pieces(name: string, path: string): AsyncGenerator<Chunk> {
    const file = await open(path, 'r').catch((cause) => {
      throw new TrafficError('traffic.read-failed', `expected to open ${path}`, { cause });
    });
    try {
      for (let position = 0; ; ) {
        // Asked before the read: what is written between the two comes on the next round.
        const isOver =
          this.#polling.isStopped || !this.#options.follow || (await this.#after(name)) !== undefined;
        const bytes = await readOn(file, position, path);
        position += bytes.length;
        if (bytes.length > 0) yield bytes;
        else if (isOver) return;
        else await this.#polling.pause();
      }
    } finally {
      await file.close();
    }
  }

  /** Whether it is classic pcap. */
  #takeHeader(path: string, header: Chunk): boolean {
    const known = this.#header;
    if (known === undefined) {
      if (!isPcap(header) && !isPcapng(header)) {
        throw new TrafficError('traffic.follow-unsupported', `${path} is no plain pcap or pcapng`);
      }
      this.#header = header;
    } else if (isPcapng(known) ? !isPcapng(header) : Buffer.compare(known, header) !== 0) {
      throw new TrafficError(
        'traffic.follow-unsupported',
        `${path} is of another kind than the captures before it`,
      );
    }
    return isPcap(header);
  }

  /** The file that comes after `name`; hidden files are none. */
  async #after(name: string | undefined): Promise<string | undefined> {
    const entries = await readdir(this.#folder, { withFileTypes: true }).catch((cause) => {
      throw new TrafficError('traffic.read-failed', `expected to list ${this.#folder}`, { cause });
    });
    return entries
      .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
      .filter((each) => name === undefined || NAMES.compare(each, name) > 0)
      .sort(NAMES.compare)[0];
  }
}
