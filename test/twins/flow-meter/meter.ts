import type { FlowRecord, MeterOptions, SourceCounters } from '../../../src/traffic/index.ts';

/** What the tests ask of a flow meter: the kernel's host and its naive twin both give it. */
export interface Meter {
  readonly counters: SourceCounters;
  readonly openFlows: number;
  /** Meters the packet in `bytes[offset, end)`, `wireLength` bytes long before any snap length. */
  addSlice(
    bytes: Uint8Array,
    offset: number,
    end: number,
    linkType: number,
    timeMs: number,
    wireLength: number,
  ): void;
  /** Moves traffic time as a packet of that time would. */
  advance(nowMs: number): void;
  /** The flows handed out since the last call. */
  drain(): FlowRecord[];
  /** Ends every open flow, and drains. */
  finish(): FlowRecord[];
}

export interface TwinOptions extends MeterOptions {
  /** A silence longer than this ends an active period of a flow. */
  readonly idlePeriodMs: number;
  readonly payloadEntropy: boolean;
  /** Flows that hold names at once, at most. */
  readonly maxNamedFlows: number;
}

export type MakeMeter = (options?: Partial<TwinOptions>, counters?: SourceCounters) => Meter;
