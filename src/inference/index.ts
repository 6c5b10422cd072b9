export type { CertificateChange, NoteCertificateChange, WatchedKind } from './certificate-watch.ts';
export { type InferenceConfig, inferenceConfigSchema, readInferenceConfig } from './config.ts';
export { Engine, type EngineOptions, type LoadedModel, type LoadOptions } from './engine.ts';
export { INFERENCE_ERRORS, InferenceError, type InferenceErrorCode } from './errors.ts';
export type { ModelRuntime } from './model-runtime.ts';
export { CERTIFICATE_STATES, type ScoreColumns, VERDICTS } from './score-columns.ts';
export { type FallbackRule, PRIORITIES, type Priority, type ScoreOptions } from './scorer.ts';
export { confidenceOf } from './served-model.ts';
export type { InferenceStats, LatencySummary } from './stats.ts';
