/// <reference types="@webgpu/types" />

/** A device of this machine, or why there is none. */
export type OpenedDevice =
  | { readonly device: GPUDevice; readonly adapter: string; readonly isSoftware: boolean }
  | { readonly device?: undefined; readonly reason: string };

type WebGpuPackage = { readonly create: (options: string[]) => GPU };

/** What `create` returned, once a process: a second instance of Dawn would be a second set of devices. */
const PIN = Symbol.for('ai-guardian.webgpu');
type Pinned = typeof globalThis & { [PIN]?: GPU };

/**
 * Loads the optional package `webgpu` and opens the adapter that promises the most, with the default limits that every
 * device has. Never throws: what is missing is a reason. `load` stands in for the package in tests.
 */
export async function openDevice(
  load: () => Promise<WebGpuPackage> = () => import('webgpu'),
): Promise<OpenedDevice> {
  let gpu: GPU;
  try {
    gpu = await pinned(load);
  } catch {
    return { reason: 'the optional package webgpu is not installed, or not for this platform' };
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (adapter === null)
      return { reason: 'no adapter: no driver for Vulkan, Metal or Direct3D 12 was found' };
    const { vendor, device, description, isFallbackAdapter } = adapter.info;
    return {
      device: await adapter.requestDevice(),
      adapter: description || [vendor, device].filter(Boolean).join(' ') || 'unnamed adapter',
      isSoftware: isFallbackAdapter,
    };
  } catch (error) {
    return {
      reason: `the adapter gave no device: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

/** The object must outlive everything made of it: once it is collected, the process crashes. */
async function pinned(load: () => Promise<WebGpuPackage>): Promise<GPU> {
  const { create } = await load();
  const holder = globalThis as Pinned;
  holder[PIN] ??= create([]);
  return holder[PIN];
}
