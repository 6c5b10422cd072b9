import { type KernelMemory, newSharedKernelMemory } from '../../base/index.ts';
import type { LabelledBins } from '../binning.ts';
import { histogramLength } from '../histogram-source.ts';
import { CONTROL_BYTES, MAX_TASKS } from './kernel-threads.ts';
import { TASK_WORDS, type ThreadScratch } from './training-kernel.ts';

export interface MemoryNeeds {
  readonly training: LabelledBins;
  readonly validation: LabelledBins | undefined;
  readonly outputs: number;
  readonly maxLeaves: number;
  readonly threads: number;
  /** Whether exact gradients are kept beside the rounded ones. */
  readonly keepGradients: boolean;
}

/** Where everything of a run lies in its memory: addresses in bytes. */
export interface TrainingMemory {
  readonly memory: KernelMemory<SharedArrayBuffer>;
  /** Rows, rounded up: the distance of two columns and of two outputs. */
  readonly rows: number;
  readonly heldRows: number;
  /** Bytes of a row. */
  readonly stride: number;
  readonly rowBins: number;
  readonly columnBins: number;
  readonly heldColumnBins: number;
  readonly labels: number;
  /** 0: all rows weigh 1. */
  readonly weights: number;
  readonly margins: number;
  readonly heldMargins: number;
  /** 0: not kept. */
  readonly gradients: number;
  readonly hessians: number;
  readonly packed: number;
  /** Row number and packed gradient, 8 bytes a row, in the order of the leaves. */
  readonly entries: number;
  readonly right: number;
  readonly heldEntries: number;
  readonly heldRight: number;
  readonly histograms: number;
  readonly histogramBytes: number;
  readonly partials: number[];
  readonly widths: number;
  readonly tables: number;
  readonly sums: number;
  readonly bases: number;
  readonly terms: number;
  readonly control: number;
  readonly tasks: number;
  readonly scratch: readonly ThreadScratch[];
  u8(address: number, length: number): Uint8Array;
  i32(address: number, length: number): Int32Array;
  f64(address: number, length: number): Float64Array;
}

const PAGE = 65_536;
/** Functions of a kernel find nothing below it. */
const FIRST = 1024;

/** Takes one shared memory for a run and copies its rows into it, by row and by column. */
export function layOutMemory(needs: MemoryNeeds): TrainingMemory {
  const { training, validation, outputs, maxLeaves, threads, keepGradients } = needs;
  const { binning } = training.binned;
  const columns = binning.columns.length;
  const stride = Math.max(8, (columns + 7) & ~7);
  const n = training.binned.rows;
  const rows = roundUp(n, 64);
  const held = validation?.binned.rows ?? 0;
  const histogramBytes = histogramLength(binning) * 4;
  // Gathered rows and the sums of 16 columns (16 KiB) should stay in the first cache together.
  const room = Math.max(32, Math.min(256, Math.floor(12_288 / stride)));
  let at = FIRST;
  const take = (bytes: number): number => {
    const address = at;
    at = roundUp(at + bytes, 64);
    return address;
  };
  const places = {
    rowBins: take(n * stride + 16),
    columnBins: take(columns * rows),
    heldColumnBins: take(columns * held),
    labels: take(rows),
    weights: training.weights === undefined ? 0 : take(rows * 4),
    margins: take(rows * outputs * 8),
    heldMargins: take(held * outputs * 8),
    gradients: keepGradients ? take(rows * outputs * 4) : 0,
    hessians: keepGradients ? take(rows * outputs * 4) : 0,
    packed: take(rows * outputs * 4),
    entries: take(rows * 8),
    right: take(rows * 8),
    heldEntries: take(held * 8),
    heldRight: take(held * 8),
    histograms: take(maxLeaves * histogramBytes),
    partials: Array.from({ length: threads === 1 ? 0 : 2 * threads }, () => take(histogramBytes)),
    widths: take(columns * 4),
    tables: take(maxLeaves * 256),
    sums: take(maxLeaves * 16),
    bases: take(outputs * 4),
    terms: outputs === 1 ? 0 : take((Math.ceil(n / 16_384) + 1) * outputs * 32),
    control: take(CONTROL_BYTES),
    tasks: take(MAX_TASKS * TASK_WORDS * 4),
    scratch: Array.from({ length: threads }, () => ({
      acc: take(stride * 1024),
      index: take(room * 4 + 64),
      values: take(room * 4 + 64),
      buffer: take(room * stride + 64),
      room,
    })),
  };
  const pages = Math.ceil(at / PAGE);
  const memory = newSharedKernelMemory({ initialPages: pages, maximumPages: pages });
  const laid: TrainingMemory = {
    ...places,
    ...{ memory, rows, heldRows: held, stride, histogramBytes },
    u8: (address, length) => new Uint8Array(memory.buffer, address, length),
    i32: (address, length) => new Int32Array(memory.buffer, address, length),
    f64: (address, length) => new Float64Array(memory.buffer, address, length),
  };
  fill(laid, training, validation);
  return laid;
}

function fill(laid: TrainingMemory, training: LabelledBins, validation: LabelledBins | undefined): void {
  const { bins, binning, rows } = training.binned;
  const columns = binning.columns.length;
  for (let f = 0; f < columns; f++) {
    laid.u8(laid.columnBins + f * laid.rows, rows).set(bins.subarray(f * rows, (f + 1) * rows));
  }
  transpose(bins, rows, columns, laid.u8(laid.rowBins, rows * laid.stride), laid.stride);
  if (validation !== undefined)
    laid.u8(laid.heldColumnBins, laid.heldRows * columns).set(validation.binned.bins);
  laid.u8(laid.labels, rows).set(training.labels);
  if (training.weights !== undefined) {
    new Float32Array(laid.memory.buffer, laid.weights, rows).set(training.weights);
  }
  const widths = laid.i32(laid.widths, columns);
  for (let f = 0; f < columns; f++) {
    widths[f] = (binning.offsets[f + 1] as number) - (binning.offsets[f] as number);
  }
}

/** Column-major to row-major, in tiles of rows that stay in cache. */
function transpose(from: Uint8Array, rows: number, columns: number, to: Uint8Array, stride: number): void {
  const TILE = 512;
  for (let start = 0; start < rows; start += TILE) {
    const end = Math.min(rows, start + TILE);
    for (let f = 0; f < columns; f++) {
      for (let i = f * rows + start, at = start * stride + f; i < f * rows + end; i++, at += stride) {
        to[at] = from[i] as number;
      }
    }
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
