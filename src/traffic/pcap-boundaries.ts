import type { Bytes } from '../base/index.ts';
import { MAX_CAPTURED_BYTES } from './capture-reader.ts';

const FILE_HEADER = 24;
const LENGTH_AT = 8;

/** Magic number, read big endian, to byte order and length of a record header; as in `PcapReader`. */
const MAGICS: Readonly<Record<number, readonly [isLittle: boolean, recordHeader: number]>> = {
  2712847316: [false, 16],
  3569595041: [true, 16],
  2712812621: [false, 16],
  1295823521: [true, 16],
  2712849716: [false, 24],
  885895841: [true, 24],
};

/**
 * Where the records of a classic pcap stream end, so that it can be cut without reading it. Fed chunks of any size;
 * holds a file header and one record header, never a packet.
 */
export class PcapBoundaries {
  /** The stream's first 24 bytes, once they are there. */
  readonly header: Uint8Array<ArrayBuffer> = new Uint8Array(FILE_HEADER);
  #headerLength = 0;
  /** False when the stream is no pcap, or is damaged: it then has no boundaries any more. */
  isSound = true;
  #isLittle = false;
  #recordHeader = 16;
  /** Bytes of the record's header that were seen, and of its packet that were not. */
  #seen = 0;
  #left = 0;
  readonly #length = new Uint8Array(4);

  get hasHeader(): boolean {
    return this.#headerLength === FILE_HEADER;
  }

  /** Whether the stream stands between two records. */
  get isBetween(): boolean {
    return this.hasHeader && this.#seen === 0;
  }

  /** Takes the next bytes; calls `boundary` with each offset in `chunk` at which a record, or the file header, ends. */
  push(chunk: Uint8Array, boundary: (offset: Bytes) => void): void {
    let at = 0;
    while (at < chunk.length && this.isSound) {
      if (this.#headerLength < FILE_HEADER) {
        const taken = Math.min(FILE_HEADER - this.#headerLength, chunk.length - at);
        this.header.set(chunk.subarray(at, at + taken), this.#headerLength);
        this.#headerLength += taken;
        at += taken;
        if (this.#headerLength === FILE_HEADER && this.#readMagic()) boundary(at);
      } else if (this.#seen < this.#recordHeader) {
        const byte = this.#seen - LENGTH_AT;
        if (byte >= 0 && byte < 4) this.#length[byte] = chunk[at] as number;
        at++;
        if (++this.#seen === this.#recordHeader) {
          this.#left = this.#captured();
          if (this.#left > MAX_CAPTURED_BYTES) this.isSound = false;
          else if (this.#left === 0) this.#endRecord(at, boundary);
        }
      } else {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#endRecord(at, boundary);
      }
    }
  }

  #endRecord(at: number, boundary: (offset: Bytes) => void): void {
    this.#seen = 0;
    boundary(at);
  }

  #readMagic(): boolean {
    const variant = MAGICS[new DataView(this.header.buffer).getUint32(0)];
    this.isSound = variant !== undefined;
    if (variant !== undefined) [this.#isLittle, this.#recordHeader] = variant;
    return this.isSound;
  }

  #captured(): number {
    return new DataView(this.#length.buffer).getUint32(0, this.#isLittle);
  }
}
