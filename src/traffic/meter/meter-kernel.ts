import { getRandomValues } from 'node:crypto';
import {
  instantiateKernel,
  type KernelMemory,
  loadKernel,
  type Milliseconds,
  newKernelMemory,
} from '../../base/index.ts';
import { TrafficError } from '../errors.ts';
import { IDENTITY_WORDS } from '../flow-batch.ts';
import { FLOW_NUMBERS } from '../flow-measures.ts';
import type { MeterOptions } from './meter-options.ts';
import { FAULTS } from './packet-faults.ts';

/** Functions of `kernels/meter.ts`. Addresses and counts are unsigned; results named there. */
export interface MeterFunctions {
  setUp(maxFlows: number, quota: number): number;
  setTimeouts(linger: number, attempt: number, idle: number, active: number, idlePeriod: number): void;
  setOptions(splitAtTcpEnd: number, payloadEntropy: number): void;
  setHashKey(...words: readonly number[]): void;
  setCapture(isSwapped: number, unitsPerMs: number, recordHeader: number, linkType: number): void;
  meterCapture(from: number, end: number): number;
  meterDescribed(count: number): number;
  unread(): number;
  waiting(): number;
  openFlows(): number;
  takeInspections(): number;
  setPressed(isPressed: number): void;
  advance(timeMs: number): number;
  finish(): void;
  writeRows(): number;
}

/** What a call of the kernel stopped at. */
export const STOP = { done: 0, flowsReady: 1, inspectFull: 2, oversized: 3, noMemory: 4 } as const;

/** Rows of the kernel's batch. */
export const KERNEL_ROWS = 504;

/** Packets that are described to it at once, at most. */
export const KERNEL_BATCH = 128;

/** Bytes of packets it holds: room for the longest record or block and as much again. */
export const KERNEL_BYTES = { start: 458_752, end: 3_145_728 } as const;

/** Where the fixed parts of its memory lie, in bytes; kernels/meter.ts names the same. */
const AT = {
  faults: 4_096,
  totals: 5_120,
  inspect: 8_192,
  logs: 65_536,
  descriptors: 86_016,
  rowSequence: 110_592,
  identity: 114_688,
  numbers: 139_264,
} as const;

/** Messages that the kernel notes before they have to be inspected. */
export const INSPECTIONS = 1_024;
const LOGS = 2_049;
const DESCRIPTOR = 24;

/** The kernel's memory as arrays, which hold until it grows. */
export interface MeterViews {
  /** From address 0 to the end of the packets' bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly faults: Uint32Array;
  /** Packets, bytes, flows, fragments, evicted since they were last set to 0. */
  readonly totals: Float64Array;
  /** Four words a message: sequence number, kind, start, end. */
  readonly inspections: Uint32Array;
  readonly descriptors: DataView;
  /** A word a row: the flow's sequence number where it was inspected, else 0. */
  readonly rowSequence: Uint32Array;
  readonly identity: Uint32Array;
  readonly numbers: Float64Array;
}

/** A timeout that never passes; the kernel marks free places by a deadline of Infinity. */
const NEVER_MS: Milliseconds = 1e300;

/** One kernel with memory of its own. */
export class MeterKernel {
  readonly functions: MeterFunctions;
  readonly #memory: KernelMemory;
  #views: MeterViews;

  /** Throws `traffic.meter-memory` where the system gives too little. */
  constructor(options: MeterOptions) {
    const pages = KERNEL_BYTES.end / 65_536;
    this.#memory = newKernelMemory({ initialPages: pages, maximumPages: 65_536 });
    this.functions = instantiateKernel<MeterFunctions>(loadKernel('meter'), this.#memory);
    const { functions } = this;
    const { maxFlows } = options;
    this.check(functions.setUp(maxFlows, Math.max(1, Math.floor(maxFlows / 64))));
    const { tcpLingerMs, attemptTimeoutMs, idleTimeoutMs, activeTimeoutMs, idlePeriodMs } = options;
    functions.setTimeouts(
      Math.min(tcpLingerMs, NEVER_MS),
      Math.min(attemptTimeoutMs, NEVER_MS),
      Math.min(idleTimeoutMs, NEVER_MS),
      activeTimeoutMs,
      idlePeriodMs,
    );
    functions.setOptions(Number(options.splitAtTcpEnd), Number(options.payloadEntropy));
    functions.setHashKey(...getRandomValues(new Uint32Array(8)));
    this.#views = viewsOf(this.#memory.buffer);
    this.#views.numbers.fill(Number.NaN);
    const logs = new Float64Array(this.#memory.buffer, AT.logs, LOGS);
    for (let c = 1; c < LOGS; c++) logs[c] = c * Math.log2(c);
  }

  /** To be asked for anew after each call of a function. */
  get views(): MeterViews {
    if (this.#views.bytes.buffer !== this.#memory.buffer) this.#views = viewsOf(this.#memory.buffer);
    return this.#views;
  }

  /** Passes on what a function returned. Throws `traffic.meter-memory` where memory ran out. */
  check(stop: number): number {
    if (stop !== STOP.noMemory) return stop;
    throw new TrafficError('traffic.meter-memory', 'the flow meter got no more memory from the system');
  }

  describe(index: number, timeMs: number, start: number, captured: number, wire: number, link: number): void {
    const { descriptors } = this.views;
    const at = index * DESCRIPTOR;
    descriptors.setFloat64(at, timeMs, true);
    descriptors.setUint32(at + 8, start, true);
    descriptors.setUint32(at + 12, captured, true);
    descriptors.setUint32(at + 16, wire, true);
    descriptors.setUint32(at + 20, link, true);
  }
}

function viewsOf(buffer: ArrayBuffer): MeterViews {
  return {
    bytes: new Uint8Array(buffer, 0, KERNEL_BYTES.end),
    faults: new Uint32Array(buffer, AT.faults, FAULTS),
    totals: new Float64Array(buffer, AT.totals, 5),
    inspections: new Uint32Array(buffer, AT.inspect, INSPECTIONS * 4),
    descriptors: new DataView(buffer, AT.descriptors, KERNEL_BATCH * DESCRIPTOR),
    rowSequence: new Uint32Array(buffer, AT.rowSequence, KERNEL_ROWS),
    identity: new Uint32Array(buffer, AT.identity, KERNEL_ROWS * IDENTITY_WORDS),
    numbers: new Float64Array(buffer, AT.numbers, KERNEL_ROWS * FLOW_NUMBERS.length),
  };
}
