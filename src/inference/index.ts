export type { Pressure } from './admission/admission.ts';
export { LaneShare } from './admission/lanes.ts';
export { PRIORITIES, type Priority, REFUSAL_REASONS, type RefusalReason } from './admission/refusal.ts';
export { SOJOURN_DEFAULTS, SojournBound, type SojournBoundOptions } from './admission/sojourn-bound.ts';
export type { CertificateChange, NoteCertificateChange, WatchedKind } from './certificate-watch.ts';
export { type InferenceConfig, inferenceConfigSchema, readInferenceConfig } from './config.ts';
export { Engine, type EngineOptions, type LoadedModel, type LoadOptions } from './engine.ts';
export { INFERENCE_ERRORS, InferenceError, type InferenceErrorCode } from './errors.ts';
export type { ExecutionReport, SizedExecutions } from './executions.ts';
export type { RowThreshold } from './gpu/crossover.ts';
export { AGREEMENT, DeviceModel } from './gpu/device-model.ts';
export {
  type DeviceScorerReport,
  type GpuChange,
  type GpuReport,
  GpuScoring,
  type GpuState,
} from './gpu/gpu-scoring.ts';
export { ScoringDevice } from './gpu/scoring-device.ts';
export type { ModelRuntime } from './model-runtime.ts';
export {
  defaultWorkerId,
  type InferenceWorker,
  type InferenceWorkerOptions,
  type InferenceWorkerStatus,
  startInferenceWorker,
} from './remote/inference-worker.ts';
export type { RemoteStats } from './remote/remote-pool.ts';
export { readTrustFile, type WorkerTrust } from './remote/worker-trust.ts';
export { openBlockingGraph, openRunnable, type RunnableModel } from './runtime/blocking-graph.ts';
export { EXECUTION_PROVIDERS, type ExecutionProvider, RUNTIME_DEFAULTS } from './runtime/config.ts';
export type { ProviderTrial } from './runtime/frames.ts';
export { GraphRuntime, type GraphRuntimeOptions, type GraphRuntimeReport } from './runtime/graph-runtime.ts';
export { CERTIFICATE_STATES, type ScoreColumns, VERDICTS } from './score-columns.ts';
export type { FallbackRule, ScoreOptions } from './scorer.ts';
export { confidenceOf } from './served-model.ts';
export {
  BREAKER_CAUSES,
  BREAKER_STATES,
  type BreakerCause,
  type BreakerCounts,
  type BreakerState,
} from './service/circuit-breaker.ts';
export type { ComparisonReport, SideReport } from './service/comparison.ts';
export type { RolloutConfig } from './service/config.ts';
export type { Later } from './service/mirror.ts';
export type { ModelCacheStats } from './service/model-cache.ts';
export type {
  ModelHealth,
  ModelHealthChange,
  ModelService,
  NoteModelHealth,
} from './service/model-service.ts';
export type { RolloutEnd, RolloutKind, RolloutReport, RolloutTerms } from './service/rollout.ts';
export type { NoteRolloutEnd } from './service/rollouts.ts';
export type { InferenceHistograms, InferenceStats, LatencySummary } from './stats.ts';
