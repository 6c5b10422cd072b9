export { type BatchCost, BatchSize, type BatchSizeOptions } from './batch-size.ts';
export { type Clock, ManualClock, systemClock } from './clock.ts';
export {
  type ConfigOrigin,
  type ConfigurationSources,
  type ResolvedConfiguration,
  resolveConfiguration,
  variableName,
} from './configuration.ts';
export {
  BASE_ERRORS,
  BaseError,
  type BaseErrorCode,
  type ErrorCatalogue,
  type ErrorCategory,
  type ErrorEntry,
  GuardianError,
  type GuardianErrorOptions,
} from './errors.ts';
export { armFaultPoints, type FaultHandler, faultPoint } from './fault-point.ts';
export { isDiskFull, syncFolder, writeFileAtomic } from './files.ts';
export {
  instantiateKernel,
  type KernelMemory,
  type KernelMemoryOptions,
  type KernelModule,
  loadKernel,
  newKernelMemory,
  newSharedKernelMemory,
} from './kernel.ts';
export {
  createLogger,
  type LogFields,
  type Logger,
  type LoggerOptions,
  type LogLevel,
  silentLogger,
} from './logger.ts';
export {
  type CounterMetric,
  type HistogramCounts,
  type HistogramMetric,
  LATENCY_BUCKETS,
  type Labels,
  type Measured,
  Metrics,
} from './metrics.ts';
export { OtlpExporter, otlpConfigSchema } from './otlp-exporter.ts';
export { SeededRandom } from './random.ts';
export { RETRY_DEFAULTS, type RetryOptions, retryWhere } from './retry.ts';
export { JUMP_MS, SteadyTime } from './steady-time.ts';
export type { Bytes, Digest, Milliseconds, Probability } from './units.ts';
