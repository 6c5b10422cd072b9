/// <reference types="@webgpu/types" />
import type { Bytes } from '../../base/index.ts';
import { DeviceBuffers, type OpenedDevice } from '../../features/index.ts';
import { InferenceError } from '../errors.ts';
import { WORKGROUP } from './shaders.ts';

/** One dispatch; what it reads was written before it. */
export interface DevicePass {
  readonly shader: string;
  readonly shape: readonly number[];
  /** In the order of their bindings, from 1 on; the last is written. */
  readonly buffers: readonly GPUBuffer[];
  /** Workgroups. */
  readonly x: number;
  readonly y?: number;
}

/** What a piece of work may do while it has the device. Buffers are held until its turn is over. */
export interface DeviceTurn {
  /** Copied at once; the device's copy is wiped when the turn is over. */
  upload(role: string, data: Float32Array | Uint32Array): GPUBuffer;
  /** What shaders hand each other; wiped as well. */
  between(role: string, bytes: Bytes): GPUBuffer;
  /** What is read back. */
  output(role: string, bytes: Bytes): GPUBuffer;
  /** The device's copy of what never changes: uploaded once, and again after it was evicted. */
  table(key: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): GPUBuffer;
  /** Float32Array of at least so many numbers on the host, wiped when the turn is over. */
  staging(floats: number): Float32Array;
  /** Runs passes and reads the first bytes of each buffer named, 8 bytes aligned, one behind the other. */
  run(passes: readonly DevicePass[], reads: readonly (readonly [GPUBuffer, Bytes])[]): Promise<ArrayBuffer>;
}

/** Every device that conforms binds this much. */
export const MAX_BINDING: Bytes = 128 * 1024 * 1024;

/**
 * A device that scores, and its memory: tables of every model within one budget, the one unused longest evicted first. Work
 * takes turns. Owns the device.
 */
export class ScoringDevice {
  /** Settles when the device is gone, with the reason. */
  readonly lost: Promise<string>;
  readonly adapter: string;
  readonly isSoftware: boolean;
  readonly budget: Bytes;
  readonly #device: GPUDevice;
  readonly #buffers: DeviceBuffers;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  #staging = new Float32Array(0);
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #lostBy: string | undefined;

  constructor(opened: Extract<OpenedDevice, { device: GPUDevice }>, budget: Bytes) {
    this.#device = opened.device;
    this.adapter = opened.adapter;
    this.isSoftware = opened.isSoftware;
    this.budget = budget;
    this.#buffers = new DeviceBuffers(opened.device, budget);
    this.lost = opened.device.lost.then(({ reason, message }) => {
      this.#lostBy = `${reason}: ${message}`;
      return this.#lostBy;
    });
  }

  get bytes(): Bytes {
    return this.#buffers.bytes;
  }

  /** Buffers destroyed to stay within the budget. */
  get evicted(): number {
    return this.#buffers.evicted;
  }

  /** Pieces of work that have their turn or wait for it. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Throws `inference.device-lost` where the device is gone or refuses something, and whatever the work throws. */
  inTurn<T>(work: (turn: DeviceTurn) => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#queue.then(async () => {
      const toWipe = new Set<GPUBuffer>();
      try {
        if (this.#lostBy !== undefined) throw new InferenceError('inference.device-lost', this.#lostBy);
        return await work(this.#turn(toWipe));
      } catch (error) {
        if (error instanceof InferenceError) throw error;
        const message = this.#lostBy ?? (error instanceof Error ? error.message : String(error));
        throw new InferenceError('inference.device-lost', message, { cause: error });
      } finally {
        this.#wipe(toWipe);
        this.#buffers.release();
        this.#waiting--;
      }
    });
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /** A model is gone: so is its memory. */
  forget(tables: readonly object[]): void {
    for (const table of tables) this.#buffers.forget(table);
  }

  close(): void {
    this.#buffers.close();
    this.#device.destroy();
  }

  #turn(toWipe: Set<GPUBuffer>): DeviceTurn {
    const device = this.#device;
    const buffers = this.#buffers;
    return {
      upload: (role, data) => {
        const buffer = buffers.scratch(role, 'input', data.byteLength);
        device.queue.writeBuffer(buffer, 0, data as GPUAllowSharedBufferSource);
        toWipe.add(buffer);
        return buffer;
      },
      between: (role, bytes) => {
        const buffer = buffers.scratch(role, 'input', bytes);
        toWipe.add(buffer);
        return buffer;
      },
      output: (role, bytes) => buffers.scratch(role, 'output', bytes),
      table: (key) =>
        buffers.table(key, () => new Uint32Array(key.buffer, key.byteOffset, key.byteLength >> 2)),
      staging: (floats) => {
        if (this.#staging.length < floats) this.#staging = new Float32Array(floats);
        return this.#staging.subarray(0, floats);
      },
      run: (passes, reads) => this.#run(passes, reads),
    };
  }

  /** Rows and what was made of them: here, and on a device that is still there. */
  #wipe(buffers: ReadonlySet<GPUBuffer>): void {
    this.#staging.fill(0);
    if (this.#lostBy !== undefined || buffers.size === 0) return;
    const commands = this.#device.createCommandEncoder();
    for (const buffer of buffers) commands.clearBuffer(buffer);
    this.#device.queue.submit([commands.finish()]);
  }

  async #run(
    passes: readonly DevicePass[],
    reads: readonly (readonly [GPUBuffer, Bytes])[],
  ): Promise<ArrayBuffer> {
    const device = this.#device;
    const pipelines = await Promise.all(passes.map(({ shader }) => this.#pipeline(shader)));
    device.pushErrorScope('out-of-memory');
    device.pushErrorScope('validation');
    const commands = device.createCommandEncoder();
    passes.forEach(({ shape, buffers, x, y = 1 }, p) => {
      const uniform = this.#buffers.scratch(`shape ${p}`, 'uniform', 32);
      device.queue.writeBuffer(
        uniform,
        0,
        Uint32Array.from({ length: 8 }, (_, i) => shape[i] ?? 0),
      );
      const pipeline = pipelines[p] as GPUComputePipeline;
      const entries = [uniform, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
      const pass = commands.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
      pass.dispatchWorkgroups(x, y);
      pass.end();
    });
    const total = reads.reduce((sum, [, bytes]) => sum + align(bytes), 0);
    const readback = this.#buffers.scratch('readback', 'readback', total);
    let at = 0;
    for (const [buffer, bytes] of reads) {
      commands.copyBufferToBuffer(buffer, 0, readback, at, bytes);
      at += align(bytes);
    }
    device.queue.submit([commands.finish()]);
    const refused = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    for (const error of refused) {
      if (error !== null) throw new InferenceError('inference.device-lost', error.message);
    }
    await readback.mapAsync(0x01, 0, total);
    const copy = readback.getMappedRange(0, total).slice(0);
    readback.unmap();
    return copy;
  }

  #pipeline(code: string): Promise<GPUComputePipeline> {
    const known = this.#pipelines.get(code);
    if (known !== undefined) return known;
    const module = this.#device.createShaderModule({ code });
    const compute = { module, entryPoint: 'main' };
    const pipeline = this.#device.createComputePipelineAsync({ layout: 'auto', compute });
    this.#pipelines.set(code, pipeline);
    return pipeline;
  }
}

/** Workgroups for so many invocations. */
export function workgroups(invocations: number): number {
  return Math.ceil(invocations / WORKGROUP);
}

export function align(bytes: Bytes): Bytes {
  return Math.ceil(bytes / 8) * 8;
}
