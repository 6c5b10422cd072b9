import type { Bytes, Milliseconds } from '../base/index.ts';

/** Takes a packet in `bytes[offset, end)`, valid during the call only. */
export type PacketSink = (
  bytes: Uint8Array,
  offset: number,
  end: number,
  linkType: number,
  timeMs: Milliseconds,
  wireLength: Bytes,
) => void;

/** Takes a fault of the file itself by its stable code. */
export type FaultSink = (code: string) => void;

/** Reads a capture that is fed in chunks of any size. Never throws: faults go to the `FaultSink`. */
export interface CaptureReader {
  /** Reads what is complete. False when nothing that follows can be read; feeding on is then harmless. */
  push(chunk: Uint8Array<ArrayBuffer>): boolean;
  /** Says that no chunk follows; a record cut in the middle is a fault. */
  end(): void;
}

/** Longest captured packet: libpcap's own limit (MAXIMUM_SNAPLEN). A longer record means a damaged file. */
export const MAX_CAPTURED_BYTES: Bytes = 262_144;
