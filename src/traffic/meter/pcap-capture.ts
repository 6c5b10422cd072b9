import type { Bytes } from '../../base/index.ts';
import type { FaultSink } from '../capture-reader.ts';
import type { FlowBatch } from '../flow-batch.ts';
import { PCAP_HEADER, type PcapLayout, readPcapHeader } from '../pcap-header.ts';
import type { FlowMeter } from './flow-meter.ts';

/** Bytes that are read into the meter's memory at once: what a second-level cache holds while they are metered. */
export const CAPTURE_READ: Bytes = 1 << 18;

/**
 * A classic pcap whose bytes are written straight into the memory of the meter and framed there. Faults as of
 * `PcapReader`.
 */
export class PcapCapture {
  readonly #meter: FlowMeter;
  readonly #fault: FaultSink;
  #layout: PcapLayout | undefined;
  #isStopped = false;

  constructor(meter: FlowMeter, fault: FaultSink) {
    this.#meter = meter;
    this.#fault = fault;
  }

  /** Where the next bytes are written, `CAPTURE_READ` of them at most. */
  get room(): Uint8Array<ArrayBuffer> {
    return this.#meter.room(CAPTURE_READ);
  }

  /** Meters what is complete with `length` more bytes. Returns false when nothing that follows can be read. */
  *take(length: Bytes): Generator<FlowBatch, boolean> {
    if (this.#isStopped) return false;
    const meter = this.#meter;
    let added = length;
    if (this.#layout === undefined) {
      meter.hold(length);
      added = 0;
      if (meter.unread.length < PCAP_HEADER) return true;
      this.#layout = readPcapHeader(meter.unread);
      if (this.#layout === undefined) return this.#stop('unknown-pcap-magic');
      meter.skip(PCAP_HEADER);
    }
    return (yield* meter.capture(added, this.#layout)) || this.#stop('oversized-packet-record');
  }

  /** Says that no bytes follow. */
  end(): void {
    if (this.#isStopped) return;
    if (this.#layout === undefined) this.#stop('truncated-pcap-header');
    else if (this.#meter.unread.length > 0) this.#stop('truncated-packet-record');
  }

  #stop(code: string): false {
    this.#isStopped = true;
    this.#fault(code);
    return false;
  }
}
