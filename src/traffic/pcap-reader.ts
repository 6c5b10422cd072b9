import { type CaptureReader, type FaultSink, MAX_CAPTURED_BYTES, type PacketSink } from './capture-reader.ts';
import { PendingBytes } from './pending-bytes.ts';

const FILE_HEADER = 24;

/** Magic number, read big endian, to byte order, time units per millisecond and length of a record header. */
const MAGICS: Readonly<
  Record<number, readonly [isLittle: boolean, unitsPerMs: number, recordHeader: number]>
> = {
  2712847316: [false, 1e3, 16], // a1b2c3d4
  3569595041: [true, 1e3, 16], // d4c3b2a1
  2712812621: [false, 1e6, 16], // a1b23c4d
  1295823521: [true, 1e6, 16], // 4d3cb2a1
  2712849716: [false, 1e3, 24], // a1b2cd34, Kuznetzov's variant: 8 more bytes a record
  885895841: [true, 1e3, 24], // 34cdb2a1
};

/** Whether a file that begins with `head` (at least 4 bytes) is a classic pcap file. */
export function isPcap(head: Uint8Array): boolean {
  if (head.length < 4) return false;
  return MAGICS[((head[0]! << 24) | (head[1]! << 16) | (head[2]! << 8) | head[3]!) >>> 0] !== undefined;
}

/**
 * Classic pcap (draft-ietf-opsawg-pcap): both byte orders, micro- and nanoseconds. Faults: `unknown-pcap-magic`,
 * `truncated-pcap-header`, `truncated-packet-record`, `oversized-packet-record`. After an oversized record nothing
 * can be read: the format has no marks to find the next one by.
 */
export class PcapReader implements CaptureReader {
  readonly #pending = new PendingBytes();
  readonly #packet: PacketSink;
  readonly #fault: FaultSink;
  #isOpen = false;
  #isStopped = false;
  #isLittle = false;
  #unitsPerMs = 1e3;
  #recordHeader = 16;
  #linkType = 0;

  constructor(packet: PacketSink, fault: FaultSink) {
    this.#packet = packet;
    this.#fault = fault;
  }

  push(chunk: Uint8Array<ArrayBuffer>): boolean {
    if (this.#isStopped) return false;
    this.#pending.append(chunk);
    if (this.#isOpen || this.#readHeader()) this.#readRecords();
    this.#pending.settle();
    return !this.#isStopped;
  }

  end(): void {
    if (this.#isStopped) return;
    if (!this.#isOpen) this.#stop('truncated-pcap-header');
    else if (this.#pending.length > 0) this.#stop('truncated-packet-record');
  }

  #readHeader(): boolean {
    const pending = this.#pending;
    if (pending.length < FILE_HEADER) return false;
    const variant = MAGICS[pending.u32(0, false)];
    if (variant === undefined) return this.#stop('unknown-pcap-magic');
    [this.#isLittle, this.#unitsPerMs, this.#recordHeader] = variant;
    // The upper bits say how long the frame check sequence is; sizes come from IP, so it does not matter.
    this.#linkType = pending.u32(20, this.#isLittle) & 0xffff;
    pending.start += FILE_HEADER;
    this.#isOpen = true;
    return true;
  }

  #readRecords(): void {
    const pending = this.#pending;
    const isLittle = this.#isLittle;
    while (pending.length >= this.#recordHeader) {
      const captured = pending.u32(8, isLittle);
      if (captured > MAX_CAPTURED_BYTES) {
        this.#stop('oversized-packet-record');
        return;
      }
      const length = this.#recordHeader + captured;
      if (pending.length < length) return;
      const timeMs = pending.u32(0, isLittle) * 1000 + pending.u32(4, isLittle) / this.#unitsPerMs;
      const wireLength = pending.u32(12, isLittle);
      const offset = pending.start + this.#recordHeader;
      this.#packet(pending.bytes, offset, offset + captured, this.#linkType, timeMs, wireLength);
      pending.start += length;
    }
  }

  #stop(code: string): false {
    this.#isStopped = true;
    this.#fault(code);
    return false;
  }
}
