import type { Bytes } from '../base/index.ts';
import { type CaptureReader, type FaultSink, MAX_CAPTURED_BYTES, type PacketSink } from './capture-reader.ts';
import { PendingBytes } from './pending-bytes.ts';

/** Bytes of the header of a file. */
export const PCAP_HEADER: Bytes = 24;

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

/** How the packet records of a file are laid out. */
export interface PcapLayout {
  readonly isLittle: boolean;
  readonly unitsPerMs: number;
  /** Bytes before each packet. */
  readonly recordHeader: Bytes;
  readonly linkType: number;
}

/** Whether a file that begins with `head` (at least 4 bytes) is a classic pcap file. */
export function isPcap(head: Uint8Array): boolean {
  return head.length >= 4 && MAGICS[u32(head, 0, false)] !== undefined;
}

/** What the first `PCAP_HEADER` bytes of a file say; undefined where it is no classic pcap. */
export function readPcapHeader(head: Uint8Array): PcapLayout | undefined {
  const variant = MAGICS[u32(head, 0, false)];
  if (variant === undefined) return undefined;
  const [isLittle, unitsPerMs, recordHeader] = variant;
  // The upper bits say how long the frame check sequence is; sizes come from IP, so it does not matter.
  return { isLittle, unitsPerMs, recordHeader, linkType: u32(head, 20, isLittle) & 0xffff };
}

function u32(bytes: Uint8Array, at: number, isLittle: boolean): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, isLittle);
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
    if (pending.length < PCAP_HEADER) return false;
    const layout = readPcapHeader(pending.bytes.subarray(pending.start, pending.start + PCAP_HEADER));
    if (layout === undefined) return this.#stop('unknown-pcap-magic');
    this.#isLittle = layout.isLittle;
    this.#unitsPerMs = layout.unitsPerMs;
    this.#recordHeader = layout.recordHeader;
    this.#linkType = layout.linkType;
    pending.start += PCAP_HEADER;
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
