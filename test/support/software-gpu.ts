import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { miss } from './requires.ts';

/** Where distributions put the Vulkan loader and the software driver that chromium brings along. */
const FOLDERS = ['/usr/lib/chromium', '/usr/lib64/chromium', '/usr/lib/chromium-browser'];
const DRIVER = 'vk_swiftshader_icd.json';

/**
 * The environment in which a child process finds a software Vulkan driver (SwiftShader): it must be set before the
 * package `webgpu` is loaded. Where there is none the test is marked as skipped, or fails under CI=true.
 */
export function requireSoftwareGpu(t: TestContext): NodeJS.ProcessEnv | undefined {
  const folder = FOLDERS.find((path) => existsSync(`${path}/${DRIVER}`));
  if (folder !== undefined) {
    const loaders = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
    return { ...process.env, VK_DRIVER_FILES: `${folder}/${DRIVER}`, LD_LIBRARY_PATH: loaders };
  }
  miss(t, `needs ${DRIVER} of chromium`);
  return undefined;
}
