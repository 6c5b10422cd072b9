import { existsSync, readdirSync } from 'node:fs';
import { z } from 'zod';
import type { Clock, Logger, Metrics } from '../../base/index.ts';
import { CpuBackend } from './cpu-backend.ts';
import type { FeatureBackend } from './feature-backend.ts';
import { MeasuredBackend } from './measured-backend.ts';
import { type OpenedDevice, openDevice } from './open-device.ts';
import { WebGpuBackend } from './webgpu-backend.ts';

const MIB = 1024 * 1024;

/** Part of the section `features` of the configuration. */
export const backendConfigSchema = z.strictObject({
  backend: z
    .enum(['auto', 'cpu', 'gpu'])
    .default('auto')
    .describe('auto: a GPU for batches that are faster there, as measured at start; gpu: for every batch'),
  deviceMemoryBytes: z
    .number()
    .int()
    .min(MIB)
    .max(64 * 1024 * MIB)
    .default(256 * MIB)
    .describe('buffers on the GPU; larger batches go in parts'),
});
export type BackendConfig = z.output<typeof backendConfigSchema>;

export interface BackendOptions {
  readonly config: BackendConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Opens the device; tests pass their own. */
  readonly open?: () => Promise<OpenedDevice>;
}

/** Opens the backend that the configuration asks for. Never fails: without a device that computes rightly it is the CPU. */
export async function openBackend(options: BackendOptions): Promise<FeatureBackend> {
  const { config, clock, logger, open = openDevice } = options;
  if (config.backend === 'cpu') return new CpuBackend();
  if (config.backend === 'auto' && open === openDevice && !mayHaveGpu()) {
    return onCpu(options, 'this machine shows no GPU');
  }
  const opened = await open();
  if (opened.device === undefined) return onCpu(options, opened.reason);
  const always = config.backend === 'gpu';
  if (opened.isSoftware && !always) {
    opened.device.destroy();
    return onCpu(options, `${opened.adapter} is a software adapter`);
  }
  const gpu = new WebGpuBackend(opened.device, { memoryBytes: config.deviceMemoryBytes });
  try {
    const backend = await MeasuredBackend.open({ gpu, adapter: opened.adapter, clock, logger, always });
    const { normalise, bin, reduce } = backend.crossovers;
    logger.info(
      { adapter: opened.adapter, normaliseRows: normalise.rows, binRows: bin.rows, reduceRows: reduce.rows },
      'the GPU agrees with the CPU and is used from these numbers of rows on',
    );
    return backend;
  } catch (error) {
    gpu.close();
    return onCpu(options, error instanceof Error ? error.message : String(error));
  }
}

/** Only who asked for a GPU is warned. */
function onCpu({ config, logger }: BackendOptions, reason: string): FeatureBackend {
  if (config.backend === 'gpu')
    logger.warn({ reason }, 'there is no GPU to use; features are computed on the CPU');
  else logger.info({ reason }, 'features are computed on the CPU');
  return new CpuBackend();
}

/** Publishes where batches are computed. */
export function observeBackend(backend: FeatureBackend, metrics: Metrics): void {
  if (!(backend instanceof MeasuredBackend)) return;
  metrics.gauge('feature_batches_gpu', 'Batches computed on the GPU.', () => backend.counters.gpu);
  metrics.gauge('feature_batches_cpu', 'Batches computed on the CPU.', () => backend.counters.cpu);
  metrics.gauge(
    'feature_backend_fallbacks',
    'Batches begun on the GPU and finished on the CPU.',
    () => backend.counters.fallbacks,
  );
}

/** Linux shows a GPU as a device node; where there is none the package is not loaded, which takes a while and complains. */
export function mayHaveGpu(root = '/dev'): boolean {
  if (process.platform !== 'linux') return true;
  const hasNodes = (folder: string, prefix: string) =>
    existsSync(folder) && readdirSync(folder).some((name) => name.startsWith(prefix));
  return (
    hasNodes(`${root}/dri`, 'renderD') ||
    hasNodes(root, 'nvidia') ||
    process.env.VK_DRIVER_FILES !== undefined
  );
}
