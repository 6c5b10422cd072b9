import { addressBytes, concat, u16, u32 } from './packets.ts';

/** A field of a template: element, length, enterprise. */
export type Field = readonly [id: number, length: number, pen?: number];

/** A NetFlow v5 record, what is not given being 0. */
export interface V5Record {
  readonly from: string;
  readonly to: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly packets: number;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  readonly flags?: number;
}

export function v5Message(
  records: readonly V5Record[],
  { sequence = 0, uptime = 10_000, seconds = 1_700_000_000 } = {},
): Uint8Array {
  const header = [
    u16(5),
    u16(records.length),
    u32(uptime),
    u32(seconds),
    u32(0),
    u32(sequence),
    u16(0),
    u16(0),
  ];
  const bodies = records.map((r) =>
    concat(
      addressBytes(r.from),
      addressBytes(r.to),
      u32(0),
      u16(0),
      u16(0),
      u32(r.packets),
      u32(r.bytes),
      u32(r.first),
      u32(r.last),
      u16(r.sourcePort),
      u16(r.destinationPort),
      [0, r.flags ?? 0, r.protocol, 0],
      u16(0),
      u16(0),
      [0, 0, 0, 0],
    ),
  );
  return concat(...header, ...bodies);
}

export function dataSet(id: number, ...content: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const body = concat(...content);
  return concat(u16(id), u16(body.length + 4), body);
}

/** A template set; `scopes` above 0 makes it one of options. */
export function templateSet(version: 9 | 10, id: number, fields: readonly Field[], scopes = 0): Uint8Array {
  const list = fields.flatMap(([element, length, pen]) =>
    pen === undefined
      ? [...u16(element), ...u16(length)]
      : [...u16(element | 0x8000), ...u16(length), ...u32(pen)],
  );
  let head = [...u16(id), ...u16(fields.length)];
  if (scopes > 0) {
    head =
      version === 9
        ? [...u16(id), ...u16(scopes * 4), ...u16((fields.length - scopes) * 4)]
        : [...u16(id), ...u16(fields.length), ...u16(scopes)];
  }
  const setId = version === 9 ? (scopes > 0 ? 1 : 0) : scopes > 0 ? 3 : 2;
  return dataSet(setId, head, list);
}

export function v9Message(
  sets: readonly Uint8Array[],
  { sequence = 0, domain = 1, uptime = 10_000, seconds = 1_700_000_000 } = {},
): Uint8Array {
  return concat(u16(9), u16(sets.length), u32(uptime), u32(seconds), u32(sequence), u32(domain), ...sets);
}

export function ipfixMessage(
  sets: readonly Uint8Array[],
  { sequence = 0, domain = 1, seconds = 1_700_000_000 } = {},
): Uint8Array {
  const body = concat(...sets);
  return concat(u16(10), u16(body.length + 16), u32(seconds), u32(sequence), u32(domain), body);
}

export function u64(value: number): number[] {
  return [...u32(Math.floor(value / 2 ** 32)), ...u32(value % 2 ** 32)];
}
