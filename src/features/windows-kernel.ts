import { getRandomValues } from 'node:crypto';
import { instantiateKernel, loadKernel, newKernelMemory } from '../base/index.ts';
import { IDENTITY_WORDS } from '../traffic/index.ts';
import { BLOCK } from './column-kernel.ts';
import type { SlidingWindowLimits } from './schema.ts';

/** Registers of a sketch; the standard error of its estimate is 1.04 / sqrt(REGISTERS), 6.5 %. */
const REGISTERS = 256;
/** Columns of cells. */
const COLUMNS = 53;
const PAGE = 65_536;

/** As in kernels/windows.ts: where the fixed parts of its memory lie, in bytes. */
const AT = {
  identity: 1_024,
  starts: 4_096,
  outBytes: 4_608,
  inBytes: 5_120,
  services: 5_632,
  flags: 5_888,
  powers: 6_144,
  linear: 6_464,
  cells: 10_240,
} as const;

/** Functions of `kernels/windows.ts`; counts are unsigned. */
interface WindowsFunctions {
  set_up(
    hosts: number,
    services: number,
    pairs: number,
    destinationServices: number,
    sketches: number,
    bucketMs: number,
  ): number;
  set_seed(...words: readonly number[]): void;
  add_rows(rows: number): void;
  remembered(): number;
  forgotten(): number;
  sketches_used(): number;
  sketches_refused(): number;
}

/**
 * The kernel of the sliding windows and its memory, as large as all keys may become: address space, of which the
 * system gives what is touched. Arrays are a block of rows each, the caller's to fill.
 */
export class WindowsKernel {
  readonly functions: WindowsFunctions;
  readonly identity: Uint32Array;
  readonly starts: Float64Array;
  readonly outBytes: Float64Array;
  readonly inBytes: Float64Array;
  readonly services: Int32Array;
  /** 1: the connection did not come about; 2: the row is left out. */
  readonly flags: Uint32Array;
  /** Float64Array, COLUMNS x BLOCK: what the last block gave. */
  readonly cells: Float64Array;

  constructor(limits: SlidingWindowLimits) {
    const memory = newKernelMemory({ initialPages: 1, maximumPages: PAGE });
    const functions = instantiateKernel<WindowsFunctions>(loadKernel('windows'), memory);
    const { hosts, services, pairs, destinationServices, sketches, bucketMs } = limits;
    const end = functions.set_up(hosts, services, pairs, destinationServices, sketches, bucketMs) >>> 0;
    memory.grow(Math.ceil(end / PAGE) - 1);
    functions.set_seed(...getRandomValues(new Uint32Array(8)));
    const { buffer } = memory;
    this.functions = functions;
    this.identity = new Uint32Array(buffer, AT.identity, BLOCK * IDENTITY_WORDS);
    this.starts = new Float64Array(buffer, AT.starts, BLOCK);
    this.outBytes = new Float64Array(buffer, AT.outBytes, BLOCK);
    this.inBytes = new Float64Array(buffer, AT.inBytes, BLOCK);
    this.services = new Int32Array(buffer, AT.services, BLOCK);
    this.flags = new Uint32Array(buffer, AT.flags, BLOCK);
    this.cells = new Float64Array(buffer, AT.cells, COLUMNS * BLOCK);
    // 2^-rank, and the estimate by linear counting where so many registers are zero.
    const powers = new Float64Array(buffer, AT.powers, 40);
    for (let rank = 0; rank < powers.length; rank++) powers[rank] = 2 ** -rank;
    const linear = new Float64Array(buffer, AT.linear, REGISTERS + 1);
    linear[0] = Number.POSITIVE_INFINITY;
    for (let zeros = 1; zeros <= REGISTERS; zeros++) {
      linear[zeros] = REGISTERS * Math.log(REGISTERS / zeros);
    }
  }
}
