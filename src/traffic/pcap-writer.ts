import { closeSync, openSync, writeSync } from 'node:fs';
import type { Bytes, Milliseconds } from '../base/index.ts';

export interface PcapWriterOptions {
  /** Bytes kept of each packet; the wire length is always written whole. */
  readonly snapLength: Bytes;
  /** LINKTYPE_ number; 1 is Ethernet. */
  readonly linkType: number;
}

export const PCAP_WRITER_DEFAULTS: PcapWriterOptions = { snapLength: 262_144, linkType: 1 };

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const CHUNK = 1 << 20;

/**
 * Writes a classic pcap file: little endian, microseconds, version 2.4 (draft-ietf-opsawg-pcap). Packets are copied
 * into one buffer of 1 MiB and reach the file when it is full and at `close`. Not durable: no fsync.
 */
export class PcapWriter {
  readonly #file: number;
  readonly #snapLength: number;
  readonly #chunk = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#chunk.buffer);
  #used = 0;
  #written = 0;
  #packets = 0;

  /** Creates or replaces `path`. File system errors pass through as they are. */
  constructor(path: string, options: Partial<PcapWriterOptions> = {}) {
    const { snapLength, linkType } = { ...PCAP_WRITER_DEFAULTS, ...options };
    this.#snapLength = Math.min(snapLength, CHUNK - RECORD_HEADER);
    this.#file = openSync(path, 'w', 0o644);
    this.#view.setUint32(0, 0xa1b2c3d4, true);
    this.#view.setUint16(4, 2, true);
    this.#view.setUint16(6, 4, true);
    this.#view.setUint32(16, this.#snapLength, true);
    this.#view.setUint32(20, linkType, true);
    this.#used = FILE_HEADER;
  }

  get packets(): number {
    return this.#packets;
  }

  /** Bytes of the file so far, headers included. */
  get bytes(): Bytes {
    return this.#written + this.#used;
  }

  /**
   * Adds one packet as seen at `timeMs` (since 1970, rounded to microseconds). `packet` holds its first bytes from
   * the link header on and is copied; `wireLength` is its true length.
   */
  write(packet: Uint8Array, timeMs: Milliseconds, wireLength: Bytes = packet.length): void {
    const kept = Math.min(packet.length, this.#snapLength, wireLength);
    if (this.#used + RECORD_HEADER + kept > CHUNK) this.#flush();
    const view = this.#view;
    const at = this.#used;
    const micros = Math.round(timeMs * 1000);
    const seconds = Math.floor(micros / 1_000_000);
    view.setUint32(at, seconds, true);
    view.setUint32(at + 4, micros - seconds * 1_000_000, true);
    view.setUint32(at + 8, kept, true);
    view.setUint32(at + 12, wireLength, true);
    this.#chunk.set(kept === packet.length ? packet : packet.subarray(0, kept), at + RECORD_HEADER);
    this.#used = at + RECORD_HEADER + kept;
    this.#packets++;
  }

  close(): void {
    try {
      this.#flush();
    } finally {
      closeSync(this.#file);
    }
  }

  #flush(): void {
    let from = 0;
    while (from < this.#used) from += writeSync(this.#file, this.#chunk, from, this.#used - from);
    this.#written += this.#used;
    this.#used = 0;
  }
}
