export {
  type Calibration,
  calibrate,
  fitPlatt,
  IDENTITY_CALIBRATION,
} from './calibration.ts';
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
export { decodeModel, encodeModel, MODEL_FORMAT_VERSION } from './model-file.ts';
export type { Score } from './score.ts';
export { type FittedStatistics, fitStatistics, QUANTILES, quantileOf } from './statistics.ts';
export { BITSET_WORDS, CATEGORICAL, goesLeft, MISSING_LEFT, type TreeEnsemble } from './tree-ensemble.ts';
