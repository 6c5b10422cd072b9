import type { Bytes } from '../base/index.ts';

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
