/// <reference types="@webgpu/types" />
import type { Bytes } from '../../base/index.ts';
import { FeatureError } from '../errors.ts';
import { type BufferUse, DeviceBuffers } from './device-buffers.ts';
import {
  type BinColumn,
  checkBin,
  checkNormalise,
  checkReduce,
  type FeatureBackend,
  type FloatTable,
  type Normalisation,
  type Reduction,
} from './feature-backend.ts';
import { orderKey } from './order-key.ts';
import { BIN_SHADER, NORMALISE_SHADER, PIECE_ROWS, REDUCE_SHADER, WORKGROUP } from './shaders.ts';

export interface DeviceOptions {
  /** What the device's buffers may take in all; a batch that needs more goes in parts. */
  readonly memoryBytes: Bytes;
}

/** Every device that conforms binds this much; the default limit of a device. */
const MAX_BINDING: Bytes = 128 * 1024 * 1024;
/** Workgroups in one dimension, on every device. */
const MAX_INVOCATIONS = 65_535 * WORKGROUP;

interface Dispatch {
  readonly shape: readonly [count: number, columns: number, third: number, fourth: number];
  readonly inputs: readonly GPUBuffer[];
  readonly resultBytes: Bytes;
  readonly invocations: number;
}

/**
 * The operations as compute shaders on one device. Operations run one after another. `shared` is the device that the
 * caller has opened; closing the backend destroys it.
 */
export class WebGpuBackend implements FeatureBackend {
  readonly kind = 'gpu';
  /** Settles when the device is gone, with the reason. */
  readonly lost: Promise<string>;
  readonly #device: GPUDevice;
  readonly #buffers: DeviceBuffers;
  readonly #budget: Bytes;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  #queue: Promise<unknown> = Promise.resolve();
  #lostBy: string | undefined;

  constructor(device: GPUDevice, { memoryBytes }: DeviceOptions) {
    this.#device = device;
    this.#budget = memoryBytes;
    this.#buffers = new DeviceBuffers(device, memoryBytes);
    this.lost = device.lost.then(({ reason, message }) => {
      this.#lostBy = `${reason}: ${message}`;
      return this.#lostBy;
    });
  }

  /** Bytes of buffers on the device now, and buffers destroyed to stay within the budget. */
  get memory(): { readonly bytes: Bytes; readonly evicted: number } {
    return { bytes: this.#buffers.bytes, evicted: this.#buffers.evicted };
  }

  async normalise(table: FloatTable, plan: Normalisation, out: Float32Array): Promise<void> {
    checkNormalise(table, plan, out);
    const { values, columns } = table;
    return this.#inTurn(async () => {
      for (const [from, to] of this.#parts(table, columns * 4)) {
        const cells = (to - from) * columns;
        const words = await this.#compute(NORMALISE_SHADER, {
          shape: [cells, columns, 0, 0],
          inputs: [
            this.#upload('values', values.subarray(from * columns, to * columns)),
            this.#buffers.table(plan, () => normalisePlan(plan)),
          ],
          resultBytes: cells * 4,
          invocations: cells,
        });
        out.set(new Float32Array(words), from * columns);
      }
    });
  }

  async bin(table: FloatTable, columns: readonly BinColumn[], out: Uint8Array | Uint16Array): Promise<void> {
    checkBin(table, columns, out);
    const width = columns.length;
    const bytesEach = out.BYTES_PER_ELEMENT;
    if (width === 0) return;
    return this.#inTurn(async () => {
      for (const [from, to] of this.#parts(table, width * bytesEach)) {
        const cells = (to - from) * width;
        const words = Math.ceil((cells * bytesEach) / 4);
        const bytes = await this.#compute(BIN_SHADER, {
          shape: [cells, table.columns, width, 4 / bytesEach],
          inputs: [
            this.#upload('values', table.values.subarray(from * table.columns, to * table.columns)),
            this.#buffers.table(columns, () => binPlan(columns)),
            this.#buffers.table(edgesKey(columns), () => binEdges(columns)),
          ],
          resultBytes: words * 4,
          invocations: words,
        });
        const bins = bytesEach === 1 ? new Uint8Array(bytes) : new Uint16Array(bytes);
        out.set(bins.subarray(0, cells), from * width);
      }
    });
  }

  async reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void> {
    checkReduce(table, keys, out);
    const { columns } = table;
    return this.#inTurn(async () => {
      out.sums.fill(0);
      out.maxima.fill(Number.NaN);
      out.counts.fill(0);
      // A piece never holds fewer than one row, so results take 16 bytes a cell at most.
      for (const [from, to] of this.#parts(table, columns * 16 + 8)) {
        const pieces = cutPieces(keys.subarray(from, to), out.segments);
        const cells = pieces.segments.length * columns;
        const values = table.values.subarray(from * columns, to * columns);
        const words = await this.#compute(REDUCE_SHADER, {
          shape: [cells, columns, 0, 0],
          inputs: [
            this.#upload('values', values),
            this.#upload('order', pieces.order),
            this.#upload('bounds', pieces.bounds),
          ],
          resultBytes: cells * 16,
          invocations: cells,
        });
        addPieces(words, pieces, { ...table, values }, out);
      }
    });
  }

  close(): void {
    this.#buffers.close();
    this.#device.destroy();
  }

  /** Rows a part, so that no binding, dispatch or budget is exceeded; bytes of results come with each row. */
  *#parts(table: FloatTable, resultBytesPerRow: number): Generator<[from: number, to: number]> {
    const widest = Math.max(table.columns * 4, resultBytesPerRow);
    // Input, output and readback, each rounded up to a power of two.
    const perRow = 2 * (table.columns * 4 + 2 * resultBytesPerRow);
    const rows = Math.floor(
      Math.min(MAX_BINDING / 2 / widest, MAX_INVOCATIONS / (widest / 4), this.#budget / perRow),
    );
    const step = Math.max(1, rows);
    for (let from = 0; from < table.rows; from += step) yield [from, Math.min(table.rows, from + step)];
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#queue.then(async () => {
      try {
        if (this.#lostBy !== undefined) throw new FeatureError('features.device-lost', this.#lostBy);
        await work();
      } catch (error) {
        if (error instanceof FeatureError) throw error;
        // What the device refuses leaves it in a state nobody knows; it is not used again.
        const message = this.#lostBy ?? (error instanceof Error ? error.message : String(error));
        throw new FeatureError('features.device-lost', message, { cause: error });
      } finally {
        this.#buffers.release();
      }
    });
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /** Its bytes go through a view of their own: what has an ArrayBuffer behind it is handed over, nothing else. */
  #upload(role: string, data: Float32Array | Uint32Array): GPUBuffer {
    const buffer = this.#buffers.scratch(role, 'input', data.byteLength);
    this.#device.queue.writeBuffer(buffer, 0, data as GPUAllowSharedBufferSource);
    return buffer;
  }

  /** Runs a shader and reads its results. The errors of this dispatch alone are caught: operations take turns. */
  async #compute(shader: string, dispatch: Dispatch): Promise<ArrayBuffer> {
    const device = this.#device;
    const { shape, inputs, resultBytes, invocations } = dispatch;
    if (invocations === 0) return new ArrayBuffer(0);
    device.pushErrorScope('out-of-memory');
    device.pushErrorScope('validation');
    const scratch = (use: BufferUse, bytes: Bytes) => this.#buffers.scratch('result', use, bytes);
    const uniform = scratch('uniform', 16);
    device.queue.writeBuffer(uniform, 0, Uint32Array.from(shape));
    const output = scratch('output', resultBytes);
    const readback = scratch('readback', resultBytes);
    const pipeline = this.#pipeline(shader);
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [uniform, ...inputs, output].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const commands = device.createCommandEncoder();
    const pass = commands.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(Math.ceil(invocations / WORKGROUP));
    pass.end();
    commands.copyBufferToBuffer(output, 0, readback, 0, resultBytes);
    device.queue.submit([commands.finish()]);
    const refused = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    for (const error of refused) {
      if (error !== null) throw new FeatureError('features.device-lost', error.message);
    }
    await readback.mapAsync(0x01, 0, resultBytes);
    const copy = readback.getMappedRange(0, resultBytes).slice(0);
    readback.unmap();
    return copy;
  }

  #pipeline(code: string): GPUComputePipeline {
    const known = this.#pipelines.get(code);
    if (known !== undefined) return known;
    const module = this.#device.createShaderModule({ code });
    const pipeline = this.#device.createComputePipeline({
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
    });
    this.#pipelines.set(code, pipeline);
    return pipeline;
  }
}

function normalisePlan({ log1p, mean, deviation, clip }: Normalisation): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(log1p.length * 8);
  const floats = new Float32Array(words.buffer);
  for (let c = 0; c < log1p.length; c++) {
    words[c * 8] = log1p[c] as number;
    const head = Math.fround(mean[c] as number);
    floats[c * 8 + 1] = head;
    floats[c * 8 + 2] = (mean[c] as number) - head;
    floats[c * 8 + 3] = 1 / (deviation[c] as number);
    floats[c * 8 + 4] = clip;
  }
  return words;
}

function binPlan(columns: readonly BinColumn[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(columns.length * 4);
  let first = 0;
  columns.forEach(({ column, cuts, categories }, f) => {
    const size = (categories ?? cuts).length;
    words.set([column, first, size, categories === undefined ? 0 : 1], f * 4);
    first += size;
  });
  return words;
}

function binEdges(columns: readonly BinColumn[]): Uint32Array<ArrayBuffer> {
  const edges = columns.flatMap(({ cuts, categories }) => [...(categories ?? cuts)]);
  // Zero: an empty buffer cannot be bound.
  const keys = new Uint32Array(Float32Array.from(edges.length > 0 ? edges : [0]).buffer);
  for (let i = 0; i < keys.length; i++) keys[i] = orderKey(keys[i] as number);
  return keys;
}

const edgeKeys = new WeakMap<readonly BinColumn[], object>();

/** Plan and edges of one list of columns are two buffers, so they need two keys. */
function edgesKey(columns: readonly BinColumn[]): object {
  const known = edgeKeys.get(columns);
  if (known !== undefined) return known;
  const key = {};
  edgeKeys.set(columns, key);
  return key;
}

interface Pieces {
  /** Rows by segment, in order of row within one. */
  readonly order: Uint32Array;
  /** Where each piece begins in `order`, and the end. */
  readonly bounds: Uint32Array;
  /** The segment of each piece. */
  readonly segments: Uint32Array;
}

/** Counting sort by segment, cut into pieces. O(rows + segments). */
function cutPieces(keys: Uint32Array, segments: number): Pieces {
  const next = new Uint32Array(segments + 1);
  for (const key of keys) next[key + 1] = (next[key + 1] as number) + 1;
  for (let s = 0; s < segments; s++) next[s + 1] = (next[s + 1] as number) + (next[s] as number);
  const bounds: number[] = [];
  const owners: number[] = [];
  for (let s = 0; s < segments; s++) {
    for (let at = next[s] as number; at < (next[s + 1] as number); at += PIECE_ROWS) {
      bounds.push(at);
      owners.push(s);
    }
  }
  bounds.push(keys.length);
  const order = new Uint32Array(keys.length);
  keys.forEach((key, row) => {
    const at = next[key] as number;
    order[at] = row;
    next[key] = at + 1;
  });
  return { order, bounds: Uint32Array.from(bounds), segments: Uint32Array.from(owners) };
}

/** `table` is what the pieces were cut from. */
function addPieces(
  words: ArrayBuffer,
  pieces: Pieces,
  { values, columns }: FloatTable,
  out: Reduction,
): void {
  const floats = new Float32Array(words);
  const counts = new Uint32Array(words);
  const { segments, bounds, order } = pieces;
  for (let cell = 0; cell < segments.length * columns; cell++) {
    const piece = Math.floor(cell / columns);
    const column = cell % columns;
    const at = (segments[piece] as number) * columns + column;
    const count = counts[cell * 4 + 3] as number;
    if (count === 0) continue;
    const largest = floats[cell * 4 + 2] as number;
    let sum = (floats[cell * 4] as number) + (floats[cell * 4 + 1] as number);
    if (!Number.isFinite(sum)) {
      // The sum of a piece left the range of float32: it is added again here.
      sum = 0;
      for (let i = bounds[piece] as number; i < (bounds[piece + 1] as number); i++) {
        const x = values[(order[i] as number) * columns + column] as number;
        if (Number.isFinite(x)) sum += x;
      }
    }
    out.sums[at] = (out.sums[at] as number) + sum;
    if (out.counts[at] === 0 || largest > (out.maxima[at] as number)) out.maxima[at] = largest;
    out.counts[at] = (out.counts[at] as number) + count;
  }
}
