export { ADWIN_DEFAULTS, Adwin, type AdwinOptions } from './adwin.ts';
export { auc, midranks } from './auc.ts';
export {
  type Calibration,
  calibrate,
  fitPlatt,
  IDENTITY_CALIBRATION,
} from './calibration.ts';
export {
  CERTIFICATE_FORMAT_VERSION,
  type Certificate,
  encodeCertificate,
  MAX_CERTIFICATE_DAYS,
  parseCertificate,
} from './certificate.ts';
export {
  CERTIFICATE_ORIGINS,
  CERTIFIED_SIDES,
  CERTIFY_DEFAULTS,
  type CertificateOrigin,
  type CertifiedSide,
  type CertifyInput,
  type CertifyOptions,
  type Claim,
  certify,
  describeClaim,
  type EpisodeBound,
  type ScoredLabels,
  sideConfidence,
} from './certify.ts';
export {
  BoostedModel,
  type BoostedModelParts,
  type Contribution,
  type DetectionModel,
  type KindStage,
  type ModelColumn,
  OPERATING_POINTS,
  type OperatingPoint,
  type OperatingPointName,
  type ScoreBatch,
  type ScoreBatchBuffers,
} from './detection-model.ts';
export { deterministicExp, deterministicLog, sigmoid } from './deterministic-math.ts';
export {
  DRIFT_BINS,
  DRIFT_DEFAULTS,
  type DriftColumn,
  type DriftOptions,
  type DriftReference,
  type DriftVerdict,
  DriftWindow,
  fitDriftReference,
  type ShiftedColumn,
} from './drift.ts';
export { MODELS_ERRORS, ModelError, type ModelErrorCode } from './errors.ts';
export {
  checkAutoencoder,
  type DenseLayer,
  type DenseNetwork,
  forwardNetwork,
  layerOutputs,
} from './hybrid/dense-network.ts';
export { NearestRows } from './hybrid/nearest-rows.ts';
export {
  NOVELTY_DETECTORS,
  type Novelty,
  type NoveltyDetector,
  NoveltyDetectors,
  type NoveltyParts,
} from './hybrid/novelty-detectors.ts';
export {
  checkEncoding,
  ENCODING_CLIP,
  encodedWidth,
  encodePoints,
  OTHER_SLOT,
  type RowEncoding,
} from './hybrid/row-encoding.ts';
export { checkTail, type ScoreTail, tailLevel } from './hybrid/score-tail.ts';
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
export { exportOnnx, ONNX_NAMES } from './onnx/export-onnx.ts';
export { describeGraph, type GraphFacts } from './onnx/graph-facts.ts';
export { decodeGraphModel, encodeGraphModel, GRAPH_FORMAT_VERSION } from './onnx/graph-file.ts';
export { GraphModel, type GraphModelParts, logOdds } from './onnx/graph-model.ts';
export {
  checkGraph,
  chooseOutput,
  type GraphOutput,
  MAX_GRAPH_BYTES,
  type OutputWish,
} from './onnx/graph-rules.ts';
export { importLightGbm } from './onnx/import-lightgbm.ts';
export { importOnnxTrees } from './onnx/import-onnx.ts';
export type { ImportedTrees } from './onnx/imported-trees.ts';
export { encodeOnnx, ONNX_TYPE, type OnnxModel } from './onnx/onnx-graph.ts';
export { readModel } from './read-model.ts';
export type { CertificateState, Score } from './score.ts';
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
export { TreeShap } from './tree-shap.ts';
