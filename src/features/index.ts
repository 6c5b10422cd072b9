export { findDisagreement, TOLERANCE } from './backend/agreement.ts';
export { CpuBackend } from './backend/cpu-backend.ts';
export { MEASURED_COLUMNS, runOperation, type Sample, sampleOf } from './backend/crossover.ts';
export { DeviceBuffers } from './backend/device-buffers.ts';
export {
  BACKEND_OPERATIONS,
  type BinColumn,
  type FeatureBackend,
  type FloatTable,
  type Normalisation,
  newReduction,
  type Reduction,
} from './backend/feature-backend.ts';
export { MeasuredBackend } from './backend/measured-backend.ts';
export { mayHaveGpu, observeBackend, openBackend } from './backend/open-backend.ts';
export { type OpenedDevice, openDevice } from './backend/open-device.ts';
export { ORDER_KEY_WGSL, orderKey } from './backend/order-key.ts';
export { WebGpuBackend } from './backend/webgpu-backend.ts';
export { type HostAggregate, HostAggregates } from './cache/host-aggregates.ts';
export { IndicatorCache } from './cache/indicator-cache.ts';
export type { IndicatorAnswer, IndicatorLookup } from './cache/indicator-lookup.ts';
export { NameFeatures } from './cache/name-features.ts';
export type { ValueState } from './cache/value-state.ts';
export { checkSchema, parseSchema } from './check-schema.ts';
export { ColumnCodec, isTextTransform, readValue } from './column-codec.ts';
export { type FeaturesConfig, featuresConfigSchema } from './config.ts';
export { encodeEvent, encodeEventInto } from './encode-event.ts';
export { FEATURE_ERRORS, FeatureError, type FeatureErrorCode } from './errors.ts';
export { checkBatch, type FeatureBatch, type RejectedRow } from './feature-batch.ts';
export { PROTOCOL_CLASSES, SERVICE_CLASSES, STATE_CLASSES } from './flow-classes.ts';
export { FlowExtractor, type FlowExtractorCounters } from './flow-extractor.ts';
export { loadSchema, PACKAGED_SCHEMAS } from './load-schema.ts';
export { RejectCounts, type RejectExample } from './reject-counts.ts';
export {
  type FeatureColumn,
  type FeatureSchema,
  type LoadedSchema,
  type SlidingWindowLimits,
  schemaBytes,
  schemaDigest,
  type TableLayout,
  type WindowLimits,
} from './schema.ts';
export { NUMBER_TRANSFORMS, SCHEMA_LIMITS, TEXT_TRANSFORMS, type TextTransform } from './schema-limits.ts';
export { readTable, TABLE_DEFAULTS, type Table, type TableCounters, type TableOptions } from './table.ts';
export { deriveFromText } from './text-transforms.ts';
