import { ICMP, ICMPV6, TCP, UDP } from './conversation.ts';
import type { PlannedPacket } from './timeline.ts';

const ETHERNET = 14;

/**
 * Writes planned packets as Ethernet frames with valid IPv4, TCP, UDP, ICMP and ICMPv6 checksums. Only the first
 * `snapLength` bytes are laid down; the checksum covers the whole packet, whose unwritten payload is zero.
 */
export class FrameWriter {
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  readonly #snapLength: number;
  /** Bytes on the wire of the frame written last. */
  wireLength = 0;

  constructor(snapLength: number) {
    this.#snapLength = snapLength;
    this.#buffer = new Uint8Array(2048);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** The frame's first bytes: a view of one buffer, valid until the next call. */
  write(packet: PlannedPacket): Uint8Array {
    const { conversation, fromServer, length, payload } = packet;
    const from = fromServer ? conversation.server : conversation.client;
    const to = fromServer ? conversation.client : conversation.server;
    const { protocol } = conversation;
    const isV6 = from.bytes.length === 16;
    const buffer = this.#buffer;
    const view = this.#view;
    buffer.fill(0, 0, 140);
    buffer.set(to.mac, 0);
    buffer.set(from.mac, 6);
    const ipHeader = isV6 ? 40 : 20;
    const layer4 = ETHERNET + ipHeader;
    const header = headerLength(packet);
    const total = ipHeader + header + length;
    if (isV6) {
      view.setUint16(12, 0x86dd);
      buffer[14] = 0x60;
      view.setUint16(18, header + length);
      buffer[20] = protocol;
      buffer[21] = from.stack.ttl;
      buffer.set(from.bytes, 22);
      buffer.set(to.bytes, 38);
    } else {
      view.setUint16(12, 0x0800);
      buffer[14] = 0x45;
      view.setUint16(16, total);
      view.setUint16(18, conversation.ipId);
      conversation.ipId = (conversation.ipId + 1) & 0xffff;
      buffer[20] = 0x40;
      buffer[22] = from.stack.ttl;
      buffer[23] = protocol;
      buffer.set(from.bytes, 26);
      buffer.set(to.bytes, 30);
      view.setUint16(24, fold(sum(buffer, 14, 34, 0)));
    }
    this.#layer4(packet, layer4, header);
    const kept =
      payload === undefined ? 0 : Math.min(payload.length, length, buffer.length - layer4 - header);
    if (payload !== undefined)
      buffer.set(kept === payload.length ? payload : payload.subarray(0, kept), layer4 + header);
    const end = layer4 + header + kept;
    buffer.fill(0, end, end + 2);
    this.#checksum(protocol, layer4, end, header + length, isV6);
    this.wireLength = ETHERNET + total;
    const shown = Math.min(this.wireLength, this.#snapLength);
    if (shown > end) buffer.fill(0, end, shown);
    return buffer.subarray(0, shown);
  }

  #layer4(packet: PlannedPacket, at: number, header: number): void {
    const { conversation, fromServer, flags, length, sequence, acknowledgement } = packet;
    const view = this.#view;
    const buffer = this.#buffer;
    const { protocol } = conversation;
    if (protocol === TCP) {
      const stack = fromServer ? conversation.server.stack : conversation.client.stack;
      view.setUint16(at, fromServer ? conversation.serverPort : conversation.clientPort);
      view.setUint16(at + 2, fromServer ? conversation.clientPort : conversation.serverPort);
      view.setUint32(at + 4, sequence);
      view.setUint32(at + 8, acknowledgement);
      buffer[at + 12] = (header >> 2) << 4;
      buffer[at + 13] = flags;
      view.setUint16(at + 14, (flags & 4) !== 0 ? 0 : stack.window);
      this.#tcpOptions(at + 20, header - 20, stack.mss, packet.timeUs);
    } else if (protocol === UDP) {
      view.setUint16(at, fromServer ? conversation.serverPort : conversation.clientPort);
      view.setUint16(at + 2, fromServer ? conversation.clientPort : conversation.serverPort);
      view.setUint16(at + 4, 8 + length);
    } else if (protocol === ICMP || protocol === ICMPV6) {
      buffer[at] = flags;
      buffer[at + 1] = sequence;
      view.setUint32(at + 4, acknowledgement);
    }
  }

  /** MSS; SACK permitted, timestamps, window scale on a full SYN; two no-ops and timestamps elsewhere. */
  #tcpOptions(at: number, length: number, mss: number, timeUs: number): void {
    const view = this.#view;
    const buffer = this.#buffer;
    let timestamps = at;
    if (length === 4 || length === 20) {
      view.setUint32(at, 0x02040000 + mss);
      if (length === 4) return;
      view.setUint16(at + 4, 0x0402);
      timestamps = at + 4;
      buffer.set([1, 3, 3, 7], at + 16);
    } else if (length === 12) {
      view.setUint16(at, 0x0101);
    } else {
      return;
    }
    view.setUint16(timestamps + 2, 0x080a);
    view.setUint32(timestamps + 4, Math.floor(timeUs / 1000) >>> 0);
  }

  /** The pseudo header is summed from the addresses already written. `end` is where the non-zero bytes end. */
  #checksum(protocol: number, at: number, end: number, length: number, isV6: boolean): void {
    const offset =
      protocol === TCP ? 16 : protocol === UDP ? 6 : protocol === ICMP || protocol === ICMPV6 ? 2 : -1;
    if (offset < 0) return;
    const pseudo = protocol === ICMP ? 0 : sum(this.#buffer, isV6 ? 22 : 26, at, protocol + length);
    const value = fold(sum(this.#buffer, at, end, pseudo));
    this.#view.setUint16(at + offset, value === 0 && protocol === UDP ? 0xffff : value);
  }
}

/** Bytes of the header above IP: TCP with its options, UDP, ICMP; none for other protocols. */
function headerLength(packet: PlannedPacket): number {
  const { conversation, flags } = packet;
  if (conversation.protocol === TCP) {
    if ((flags & 2) !== 0) return 20 + conversation.synOptions;
    return 20 + ((flags & 4) !== 0 ? 0 : conversation.dataOptions);
  }
  const { protocol } = conversation;
  return protocol === UDP || protocol === ICMP || protocol === ICMPV6 ? 8 : 0;
}

/** Adds 16-bit words of bytes [from, to) to `start`; an odd last byte counts as the high one. */
export function sum(bytes: Uint8Array, from: number, to: number, start: number): number {
  let total = start;
  const even = to - ((to - from) & 1);
  for (let i = from; i < even; i += 2) total += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  if (even < to) total += (bytes[even] as number) << 8;
  return total;
}

/** The Internet checksum of a sum (RFC 1071). */
export function fold(total: number): number {
  let t = total;
  while (t > 0xffff) t = (t & 0xffff) + Math.floor(t / 65536);
  return ~t & 0xffff;
}
