export { auc, midranks } from './auc.ts';
export {
  type Calibration,
  calibrate,
  fitPlatt,
  IDENTITY_CALIBRATION,
} from './calibration.ts';
export {
  CERTIFY_DEFAULTS,
  type Certificate,
  type CertificateOrigin,
  type CertifiedSide,
  type CertifyInput,
  type CertifyOptions,
  certify,
} from './certificate.ts';
export {
  BoostedModel,
  type BoostedModelParts,
  type Contribution,
  type DetectionModel,
  type KindStage,
  type ModelColumn,
  type ScoreBatch,
  type ScoreBatchBuffers,
} from './detection-model.ts';
export { deterministicExp, deterministicLog, sigmoid } from './deterministic-math.ts';
export { MODELS_ERRORS, ModelError, type ModelErrorCode } from './errors.ts';
export { clopperPearsonUpper, decisionsNeeded, type Interval, wilson } from './intervals.ts';
export {
  type BinaryMetrics,
  binaryMetrics,
  type Confusion,
  confusion,
  type KindMetrics,
  type KindMetricsInput,
  kindMetrics,
} from './metrics.ts';
export { decodeModel, encodeModel, MODEL_FORMAT_VERSION } from './model-file.ts';
export type { Score } from './score.ts';
export { incompleteBeta, inverseIncompleteBeta, logGamma } from './special-functions.ts';
export { type FittedStatistics, fitStatistics, QUANTILES, quantileOf } from './statistics.ts';
export {
  BITSET_WORDS,
  CATEGORICAL,
  goesLeft,
  MISSING_LEFT,
  sumMargins,
  type TreeEnsemble,
} from './tree-ensemble.ts';
