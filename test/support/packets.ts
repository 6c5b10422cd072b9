/** Hand-built packets and capture files for tests. Checksums are zero: nothing here looks at them. */

export interface TestPacket {
  readonly bytes: Uint8Array;
  readonly timeMs: number;
  /** Length on the wire; the captured length by default. */
  readonly wireLength?: number;
}

export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function u16(value: number, little = false): number[] {
  const bytes = [(value >>> 8) & 255, value & 255];
  return little ? bytes.reverse() : bytes;
}

export function u32(value: number, little = false): number[] {
  const bytes = [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  return little ? bytes.reverse() : bytes;
}

export function addressBytes(text: string): number[] {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const left = groups(head);
  const right = groups(tail);
  const zeros = new Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...zeros, ...right].flatMap((group) => u16(group));
}

export const FLAG = { fin: 1, syn: 2, rst: 4, ack: 16, synAck: 18, finAck: 17 } as const;

export function tcp(
  sourcePort: number,
  destinationPort: number,
  flags: number,
  { seq = 1, ack = 0, payload = 0 } = {},
): Uint8Array {
  const header = [...u16(sourcePort), ...u16(destinationPort), ...u32(seq), ...u32(ack), 0x50, flags];
  return concat(header, [0, 0, 0, 0, 0, 0], new Uint8Array(payload));
}

export function udp(sourcePort: number, destinationPort: number, payload = 0): Uint8Array {
  return concat(u16(sourcePort), u16(destinationPort), u16(8 + payload), [0, 0], new Uint8Array(payload));
}

export function icmp(type: number, code: number, payload = 0): Uint8Array {
  return concat([type, code, 0, 0, 0, 0, 0, 0], new Uint8Array(payload));
}

export function ipv4(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  { options = 0, totalLength = -1, fragment = 0 } = {},
): Uint8Array {
  const header = 20 + options;
  const total = totalLength < 0 ? header + payload.length : totalLength;
  return concat(
    [0x40 | (header / 4), 0, ...u16(total), 0, 0, ...u16(fragment), 64, protocol, 0, 0],
    addressBytes(source),
    addressBytes(destination),
    new Uint8Array(options).fill(1),
    payload,
  );
}

export function ipv6(
  source: string,
  destination: string,
  next: number,
  payload: Uint8Array,
  payloadLength = payload.length,
): Uint8Array {
  const header = [0x60, 0, 0, 0, ...u16(payloadLength), next, 64];
  return concat(header, addressBytes(source), addressBytes(destination), payload);
}

export function ethernet(type: number, payload: Uint8Array): Uint8Array {
  return concat(new Uint8Array(12), u16(type), payload);
}

export interface PcapShape {
  readonly little?: boolean;
  readonly nano?: boolean;
  readonly linkType?: number;
}

/** A classic pcap file. Times must be whole microseconds. */
export function pcapFile(packets: readonly TestPacket[], shape: PcapShape = {}): Uint8Array<ArrayBuffer> {
  const { little = true, nano = false, linkType = 1 } = shape;
  const header = [...u32(nano ? 0xa1b23c4d : 0xa1b2c3d4, little), ...u16(2, little), ...u16(4, little)];
  const records = packets.map(({ bytes, timeMs, wireLength = bytes.length }) => {
    const micros = Math.round((timeMs % 1000) * 1000);
    const time = [...u32(Math.floor(timeMs / 1000), little), ...u32(nano ? micros * 1000 : micros, little)];
    return concat(time, u32(bytes.length, little), u32(wireLength, little), bytes);
  });
  return concat(header, new Uint8Array(8), u32(262_144, little), u32(linkType, little), ...records);
}

/** A pcapng block: type, length, body padded to 32 bits, length. */
export function block(type: number, body: Uint8Array, little = true): Uint8Array {
  const padded = concat(body, new Uint8Array((4 - (body.length % 4)) % 4));
  const length = u32(padded.length + 12, little);
  return concat(u32(type, little), length, padded, length);
}

export function sectionBlock(little = true): Uint8Array {
  const body = concat(u32(0x1a2b3c4d, little), u16(1, little), u16(0, little), new Uint8Array(8).fill(255));
  return block(0x0a0d0d0a, body, little);
}

/** An interface description; `resolution` is if_tsresol, `offsetSeconds` is if_tsoffset. */
export function interfaceBlock(
  linkType: number,
  little = true,
  { resolution = -1, offsetSeconds = 0, snapLength = 0 } = {},
): Uint8Array {
  const offset = [...u32(0, little), ...u32(offsetSeconds, little)];
  return block(
    1,
    concat(
      u16(linkType, little),
      [0, 0],
      u32(snapLength, little),
      resolution < 0 ? [] : [...u16(9, little), ...u16(1, little), resolution, 0, 0, 0],
      offsetSeconds === 0
        ? []
        : [...u16(14, little), ...u16(8, little), ...(little ? offset.reverse() : offset)],
      [0, 0, 0, 0],
    ),
    little,
  );
}

/** An enhanced packet block; `units` is the timestamp in the interface's resolution. */
export function packetBlock(index: number, units: number, bytes: Uint8Array, little = true): Uint8Array {
  const time = [...u32(Math.floor(units / 2 ** 32), little), ...u32(units % 2 ** 32, little)];
  const lengths = [...u32(bytes.length, little), ...u32(bytes.length, little)];
  return block(6, concat(u32(index, little), time, lengths, bytes), little);
}

export function simplePacketBlock(bytes: Uint8Array, little = true): Uint8Array {
  return block(3, concat(u32(bytes.length, little), bytes), little);
}

/** The obsolete packet block. */
export function oldPacketBlock(index: number, units: number, bytes: Uint8Array, little = true): Uint8Array {
  const time = [...u32(Math.floor(units / 2 ** 32), little), ...u32(units % 2 ** 32, little)];
  const lengths = [...u32(bytes.length, little), ...u32(bytes.length, little)];
  return block(2, concat(u16(index, little), [0, 0], time, lengths, bytes), little);
}
