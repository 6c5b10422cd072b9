import type { Milliseconds } from '../base/index.ts';
import { type CaptureReader, type FaultSink, MAX_CAPTURED_BYTES, type PacketSink } from './capture-reader.ts';
import { PendingBytes } from './pending-bytes.ts';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Longest block that is read; others are skipped by their length. Room for the longest packet and its options. */
const MAX_BLOCK = 1 << 20;
const MAX_INTERFACES = 4096;
const OPTION_RESOLUTION = 9;
const OPTION_OFFSET = 14;

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  readonly unitsPerMs: number;
  readonly offsetMs: Milliseconds;
}

/** Whether a file that begins with `head` (at least 4 bytes) is a pcapng file. */
export function isPcapng(head: Uint8Array): boolean {
  return head.length >= 4 && head[0] === 0x0a && head[1] === 0x0d && head[2] === 0x0d && head[3] === 0x0a;
}

/**
 * pcapng (draft-ietf-opsawg-pcapng): several sections of either byte order, several interfaces, enhanced, simple
 * and obsolete packet blocks; every other block is skipped by its length. Simple packets have no time and get that
 * of the packet before, or 0. Faults after which reading stops, because the next block cannot be found:
 * `invalid-pcapng-section`, `invalid-block-length`, `mismatched-block-length`, `truncated-block`. Faults that skip
 * one block: `oversized-block`, `short-block`, `unknown-interface`, `too-many-interfaces`,
 * `oversized-packet-record`, `truncated-packet-record`.
 */
export class PcapngReader implements CaptureReader {
  readonly #pending = new PendingBytes();
  readonly #packet: PacketSink;
  readonly #fault: FaultSink;
  #interfaces: Interface[] = [];
  #isStopped = false;
  #isLittle = false;
  #hasSection = false;
  #lastMs: Milliseconds = 0;
  /** Bytes of a skipped block that are still to come. */
  #skip = 0;

  constructor(packet: PacketSink, fault: FaultSink) {
    this.#packet = packet;
    this.#fault = fault;
  }

  push(chunk: Uint8Array<ArrayBuffer>): boolean {
    if (this.#isStopped) return false;
    this.#pending.append(chunk);
    while (this.#readBlock());
    this.#pending.settle();
    return !this.#isStopped;
  }

  end(): void {
    if (!this.#isStopped && (this.#pending.length > 0 || this.#skip > 0)) this.#stop('truncated-block');
  }

  /** Zeroes what was kept of packets. */
  wipe(): void {
    this.#pending.wipe();
  }

  /** Reads or skips one block; false when more bytes are needed or reading has stopped. */
  #readBlock(): boolean {
    const pending = this.#pending;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, pending.length);
      pending.start += skipped;
      this.#skip -= skipped;
      if (this.#skip > 0) return false;
    }
    if (pending.length < 12) return false;
    const isSection = pending.u32(0, false) === SECTION_HEADER;
    if (isSection) {
      if (pending.u32(8, true) === BYTE_ORDER_MAGIC) this.#isLittle = true;
      else if (pending.u32(8, false) === BYTE_ORDER_MAGIC) this.#isLittle = false;
      else return this.#stop('invalid-pcapng-section');
      this.#hasSection = true;
      this.#interfaces = [];
    } else if (!this.#hasSection) {
      return this.#stop('invalid-pcapng-section');
    }
    const type = pending.u32(0, this.#isLittle);
    const length = pending.u32(4, this.#isLittle);
    if (length < 12 || length % 4 !== 0) return this.#stop('invalid-block-length');
    const isRead =
      type === INTERFACE || type === ENHANCED_PACKET || type === SIMPLE_PACKET || type === OBSOLETE_PACKET;
    if (!isRead || length > MAX_BLOCK) {
      if (isRead) this.#fault('oversized-block');
      this.#skip = length;
      return true;
    }
    if (pending.length < length) return false;
    if (pending.u32(length - 4, this.#isLittle) !== length) return this.#stop('mismatched-block-length');
    const fault = type === INTERFACE ? this.#readInterface(length) : this.#readPacket(type, length);
    if (fault !== undefined) this.#fault(fault);
    pending.start += length;
    return true;
  }

  /** Reads an interface description; returns the code of a fault. */
  #readInterface(length: number): string | undefined {
    const pending = this.#pending;
    if (length < 20) return 'short-block';
    if (this.#interfaces.length === MAX_INTERFACES) return 'too-many-interfaces';
    let unitsPerMs = 1e3;
    let offsetMs = 0;
    const optionsEnd = length - 4;
    for (let at = 16; at + 4 <= optionsEnd; ) {
      const code = pending.u16(at, this.#isLittle);
      const size = pending.u16(at + 2, this.#isLittle);
      if (code === 0 || at + 4 + size > optionsEnd) break;
      if (code === OPTION_RESOLUTION && size >= 1) {
        const resolution = pending.bytes[pending.start + at + 4]!;
        // The top bit chooses powers of 2 instead of 10; units are per second.
        unitsPerMs = ((resolution & 0x80) === 0 ? 10 : 2) ** (resolution & 0x7f) / 1e3;
      } else if (code === OPTION_OFFSET && size >= 8) {
        const high = pending.u32(at + (this.#isLittle ? 8 : 4), this.#isLittle) | 0;
        const low = pending.u32(at + (this.#isLittle ? 4 : 8), this.#isLittle);
        offsetMs = (high * 4294967296 + low) * 1000;
      }
      at += 4 + size + ((4 - (size % 4)) % 4);
    }
    this.#interfaces.push({
      linkType: pending.u16(8, this.#isLittle),
      snapLength: pending.u32(12, this.#isLittle),
      unitsPerMs,
      offsetMs,
    });
    return undefined;
  }

  /** Hands out the packet of a block; returns the code of a fault. */
  #readPacket(type: number, length: number): string | undefined {
    const pending = this.#pending;
    const isLittle = this.#isLittle;
    const header = type === SIMPLE_PACKET ? 12 : 28;
    if (length < header + 4) return 'short-block';
    let index = 0;
    if (type === ENHANCED_PACKET) index = pending.u32(8, isLittle);
    else if (type === OBSOLETE_PACKET) index = pending.u16(8, isLittle);
    const source = this.#interfaces[index];
    if (source === undefined) return 'unknown-interface';
    const room = length - header - 4;
    let captured: number;
    let wireLength: number;
    if (type === SIMPLE_PACKET) {
      wireLength = pending.u32(8, isLittle);
      captured = Math.min(wireLength, room, source.snapLength === 0 ? room : source.snapLength);
    } else {
      captured = pending.u32(20, isLittle);
      wireLength = pending.u32(24, isLittle);
      const units = pending.u32(12, isLittle) * 4294967296 + pending.u32(16, isLittle);
      this.#lastMs = units / source.unitsPerMs + source.offsetMs;
    }
    if (captured > MAX_CAPTURED_BYTES) return 'oversized-packet-record';
    if (captured > room) return 'truncated-packet-record';
    const offset = pending.start + header;
    this.#packet(pending.bytes, offset, offset + captured, source.linkType, this.#lastMs, wireLength);
    return undefined;
  }

  #stop(code: string): false {
    this.#isStopped = true;
    this.#fault(code);
    return false;
  }
}
