/// <reference types="@webgpu/types" />
import type { Bytes } from '../../base/index.ts';

/** What a buffer is for; bits as in the WebGPU specification, section 5.1. */
export const BUFFER_USE = {
  /** Written by the host, read by shaders. */
  input: 0x80 | 0x08,
  /** Written by shaders, copied from. */
  output: 0x80 | 0x04,
  /** Copied to, read by the host. */
  readback: 0x01 | 0x08,
  uniform: 0x40 | 0x08,
} as const;
export type BufferUse = keyof typeof BUFFER_USE;

interface Held {
  readonly buffer: GPUBuffer;
  readonly bytes: Bytes;
  readonly key: object | string;
}

const SMALLEST: Bytes = 256;

/**
 * Buffers of one device within a budget. Scratch is kept by use and size, a power of two, for the next batch; tables (the
 * edges of a binning) are kept by the object they were made of. What was unused longest is destroyed first, never
 * what the running operation holds.
 */
export class DeviceBuffers {
  evicted = 0;
  #bytes: Bytes = 0;
  readonly #device: GPUDevice;
  readonly #budget: Bytes;
  /** Least recently used first. */
  readonly #held = new Map<object | string, Held>();
  readonly #inUse = new Set<object | string>();

  constructor(device: GPUDevice, budget: Bytes) {
    this.#device = device;
    this.#budget = budget;
  }

  get bytes(): Bytes {
    return this.#bytes;
  }

  /** A buffer of at least `bytes`, whose content is left over from before. Held until `release`. */
  scratch(role: string, use: BufferUse, bytes: Bytes): GPUBuffer {
    const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(bytes)));
    return this.#take(`${role} ${use} ${size}`, use, size).buffer;
  }

  /** The device's copy of a table, uploaded at the first call for `key`, which must not change after. */
  table(key: object, build: () => Uint32Array<ArrayBuffer>): GPUBuffer {
    const kept = this.#held.get(key);
    if (kept !== undefined) return this.#take(key, 'input', kept.bytes).buffer;
    const words = build();
    const { buffer } = this.#take(key, 'input', Math.max(SMALLEST, words.byteLength));
    this.#device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  /** Whoever the table was made for is gone. */
  forget(key: object): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    held.buffer.destroy();
    this.#held.delete(key);
    this.#inUse.delete(key);
    this.#bytes -= held.bytes;
  }

  /** The operation is over: its buffers may be evicted. */
  release(): void {
    this.#inUse.clear();
    this.#makeRoom(0);
  }

  close(): void {
    for (const { buffer } of this.#held.values()) buffer.destroy();
    this.#held.clear();
    this.#inUse.clear();
    this.#bytes = 0;
  }

  #take(key: object | string, use: BufferUse, bytes: Bytes): Held {
    let held = this.#held.get(key);
    if (held === undefined) {
      this.#makeRoom(bytes);
      held = { key, bytes, buffer: this.#device.createBuffer({ size: bytes, usage: BUFFER_USE[use] }) };
      this.#bytes += bytes;
    }
    this.#held.delete(key);
    this.#held.set(key, held);
    this.#inUse.add(key);
    return held;
  }

  #makeRoom(bytes: Bytes): void {
    for (const { key, buffer, bytes: freed } of this.#held.values()) {
      if (this.#bytes + bytes <= this.#budget) return;
      if (this.#inUse.has(key)) continue;
      buffer.destroy();
      this.#held.delete(key);
      this.#bytes -= freed;
      this.evicted++;
    }
  }
}
