import {
  type CaptureReader,
  type FaultSink,
  MAX_CAPTURED_BYTES,
  type PacketSink,
} from '../../src/traffic/capture-reader.ts';
import { PCAP_HEADER, readPcapHeader } from '../../src/traffic/pcap-header.ts';
import { PendingBytes } from '../../src/traffic/pending-bytes.ts';

/**
 * The naive twin of what the meter does with a file: classic pcap (draft-ietf-opsawg-pcap): both byte orders, micro- and nanoseconds. Faults: `unknown-pcap-magic`,
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
