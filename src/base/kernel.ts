import { readFileSync } from 'node:fs';
import { BaseError } from './errors.ts';

/** A compiled kernel. It can be posted to a worker, which instantiates it over the same or another memory. */
export type KernelModule = object & { readonly kernelModule?: never };

/** Memory of a kernel. `buffer` is another one after each growth unless it is shared: make views anew. */
export interface KernelMemory<B extends ArrayBufferLike = ArrayBuffer> {
  readonly buffer: B;
  /** Adds pages of 65,536 bytes, zeroed; returns the former number of pages. Throws `RangeError` at its maximum. */
  grow(pages: number): number;
}

export interface KernelMemoryOptions {
  /** Pages of 65,536 bytes. */
  readonly initialPages: number;
  /** 65,536 pages (4 GiB) at most. */
  readonly maximumPages: number;
}

/** Functions of a kernel by name; pointers are byte offsets in its memory. */
export type KernelFunctions = Readonly<Record<string, (...values: number[]) => number>>;

/** The part of the platform that is used here; its types come with browsers only. */
interface WebAssemblyPlatform {
  readonly Module: new (bytes: Uint8Array) => KernelModule;
  readonly Memory: new (descriptor: {
    initial: number;
    maximum: number;
    shared: boolean;
  }) => KernelMemory<ArrayBufferLike>;
  readonly Instance: new (
    module: KernelModule,
    imports: { readonly env: { readonly memory: KernelMemory<ArrayBufferLike> } },
  ) => { readonly exports: KernelFunctions };
}

const platform = (globalThis as unknown as { readonly WebAssembly: WebAssemblyPlatform }).WebAssembly;
const FOLDER = new URL('../../kernels/', import.meta.url);
const compiled = new Map<string, KernelModule>();

/**
 * The kernel `kernels/NAME.wasm` of the package, compiled once a process. Throws `base.kernel-missing` where there
 * is no such file and `base.kernel-invalid` where it is no WebAssembly that this platform runs.
 */
export function loadKernel(name: string, folder: URL = FOLDER): KernelModule {
  const file = new URL(`${name}.wasm`, folder);
  const known = compiled.get(file.href);
  if (known !== undefined) return known;
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new BaseError('base.kernel-missing', `expected the kernel ${name} in the package`, { cause });
  }
  let module: KernelModule;
  try {
    module = new platform.Module(bytes);
  } catch (cause) {
    throw new BaseError('base.kernel-invalid', `the kernel ${name} does not compile`, { cause });
  }
  compiled.set(file.href, module);
  return module;
}

/** Memory for one kernel of one thread. */
export function newKernelMemory(options: KernelMemoryOptions): KernelMemory {
  const { initialPages: initial, maximumPages: maximum } = options;
  return new platform.Memory({ initial, maximum, shared: false }) as KernelMemory;
}

/** Memory that threads share, for kernels built with threads. */
export function newSharedKernelMemory(options: KernelMemoryOptions): KernelMemory<SharedArrayBuffer> {
  const { initialPages: initial, maximumPages: maximum } = options;
  return new platform.Memory({ initial, maximum, shared: true }) as KernelMemory<SharedArrayBuffer>;
}

/**
 * A kernel's functions over the caller's memory. `Functions` names what the kernel exports. Throws
 * `base.kernel-invalid` where the kernel asks for another kind of memory, or for more.
 */
export function instantiateKernel<Functions extends object>(
  module: KernelModule,
  memory: KernelMemory<ArrayBufferLike>,
): Functions {
  try {
    return new platform.Instance(module, { env: { memory } }).exports as unknown as Functions;
  } catch (cause) {
    throw new BaseError('base.kernel-invalid', 'the kernel does not accept the memory it was given', {
      cause,
    });
  }
}
