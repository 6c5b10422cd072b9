export { ColumnCodec, isTextTransform, readValue } from './column-codec.ts';
export { FEATURE_ERRORS, FeatureError, type FeatureErrorCode } from './errors.ts';
export { loadSchema, PACKAGED_SCHEMAS, parseSchema } from './load-schema.ts';
export { RejectCounts, type RejectExample } from './reject-counts.ts';
export {
  checkSchema,
  type FeatureColumn,
  type FeatureSchema,
  type LoadedSchema,
  NUMBER_TRANSFORMS,
  SCHEMA_LIMITS,
  schemaBytes,
  schemaDigest,
  type TableLayout,
  TEXT_TRANSFORMS,
  type TextTransform,
  type WindowLimits,
} from './schema.ts';
export { readTable, TABLE_DEFAULTS, type Table, type TableCounters, type TableOptions } from './table.ts';
export { deriveFromText } from './text-transforms.ts';
