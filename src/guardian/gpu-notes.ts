import type { Logger, Metrics } from '../base/index.ts';
import {
  type Engine,
  EXECUTION_PROVIDERS,
  type ExecutionProvider,
  type GpuChange,
} from '../inference/index.ts';

/** Says in the log what becomes of the GPU. Only who asked for it is warned that there is none. */
export function noteGpu(logger: Logger, provider: ExecutionProvider): (change: GpuChange) => void {
  return ({ state, adapter, reason }) => {
    const isFault = state === 'lost' || state === 'wrong';
    const about = { state, adapter, reason, ...(isFault && { code: `inference.device-${state}` }) };
    if (state === 'in-use') logger.info(about, 'the GPU agrees with the CPU and scores large batches');
    else if (isFault) logger.warn(about, 'the GPU is not used any longer; models are scored on the CPU');
    else if (provider === 'webgpu')
      logger.warn(about, 'there is no GPU to use; models are scored on the CPU');
    else logger.info(about, 'models are scored on the CPU');
  };
}

/** Registers where models are scored. */
export function observeGpu(
  metrics: Metrics,
  engine: Pick<Engine, 'gpu' | 'graphs' | 'names' | 'stats'>,
): void {
  metrics.counted(
    'inference_provider',
    'Models in service, by what computes their large batches.',
    'provider',
    () => modelsByProvider(engine),
  );
  let cpuRows = 0;
  metrics.counted(
    'inference_rows_total',
    'Rows of native models that were scored, by provider.',
    'provider',
    () => {
      const { rows: webgpu } = engine.gpu;
      // Rows of batches that nobody waited for were scored, too: the count never falls.
      cpuRows = Math.max(cpuRows, engine.stats.rows - webgpu);
      return { cpu: cpuRows, webgpu };
    },
  );
  metrics.counted(
    'inference_gpu_rows_again_total',
    'Rows that the CPU scored again: near a cut, or to see that the GPU is right.',
    'why',
    () => ({ cut: engine.gpu.again, control: engine.gpu.control }),
  );
  metrics.gauge(
    'inference_gpu_memory_bytes',
    'Tables and buffers of models on the GPU.',
    () => engine.gpu.memoryBytes,
  );
  metrics.counted('inference_gpu_events_total', 'What became of the GPU, by event.', 'event', () => {
    const { evicted, fallbacks, losses } = engine.gpu;
    return { evicted, fallback: fallbacks, lost: losses };
  });
}

function modelsByProvider(engine: Pick<Engine, 'gpu' | 'graphs' | 'names'>): Record<string, number> {
  const { gpu, graphs } = engine;
  const found = Object.fromEntries(EXECUTION_PROVIDERS.slice(1).map((name) => [name, 0]));
  const onGpu = gpu.models.filter(({ fromRows }) => fromRows !== Number.POSITIVE_INFINITY).length;
  found.webgpu = gpu.state === 'in-use' ? onGpu : 0;
  for (const { provider } of graphs) if (provider !== 'cpu') found[provider] = (found[provider] ?? 0) + 1;
  const elsewhere = Object.values(found).reduce((sum, count) => sum + count, 0);
  return { ...found, cpu: Math.max(0, engine.names().length - elsewhere) };
}
