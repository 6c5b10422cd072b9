export { type AdoptedGraph, type AdoptGraphInput, adoptGraph } from './adopt-graph.ts';
export { type AdoptedTrees, type AdoptTreesInput, adoptTrees } from './adopt-trees.ts';
export type { AdoptionProvenance } from './adopted.ts';
export type { AggregationProgress, Booster, RoundProgress } from './boosting.ts';
export { type CertifyModelInput, certifyModel, type ModelCertification } from './certify-model.ts';
export type { CheckpointStore } from './checkpoint/checkpoint-store.ts';
export { runDifferences, type TrainingRun, trainingRun } from './checkpoint/training-run.ts';
export { STATE_MAGIC } from './checkpoint/training-state.ts';
export {
  type CheckpointCounts,
  TrainingSteps,
  type TrainingStepsOptions,
} from './checkpoint/training-steps.ts';
export {
  resolveTrainingConfig,
  type ThresholdPolicy,
  type TrainingConfig,
  trainingConfigSchema,
} from './config.ts';
export { type CurvePoint, curvePointSchema } from './curve-point.ts';
export {
  type DataSplit,
  distinctRows,
  limitAttackTypes,
  type SplitShares,
  splitByTime,
  splitStratified,
} from './data-split.ts';
export {
  DISTRIBUTION_DEFAULTS,
  DistributedTraining,
  type DistributionOptions,
} from './distributed/distributed-training.ts';
export { memberSubject } from './distributed/member-request.ts';
export { memberRows } from './distributed/member-rows.ts';
export type { PrivacyOptions } from './distributed/privacy.ts';
export { replayBooster } from './distributed/replay-training.ts';
export { SecureMember, type SecureMemberOptions } from './distributed/secure-member.ts';
export {
  type PublishedSecureRecord,
  participantsOf,
  publishedRecord,
  publishRecord,
} from './distributed/secure-record.ts';
export { cutForRehearsal, startRehearsal } from './distributed/secure-rehearsal.ts';
export type { DropoutPolicy } from './distributed/secure-summation.ts';
export {
  SECURE_TRAINING_DEFAULTS,
  type SecureRecord,
  SecureTraining,
  type SecureTrainingOptions,
} from './distributed/secure-training.ts';
export { serveWorker, TrainingWorker } from './distributed/training-worker.ts';
export { startWorkerThreads } from './distributed/worker-threads.ts';
export { TRAINING_ERRORS, TrainingError, type TrainingErrorCode } from './errors.ts';
export { type Evaluation, evaluateModel } from './evaluate.ts';
export { createGateEvaluator, type GateEvaluatorOptions, scoreDrift } from './gate-evaluator.ts';
export { type Reach, reachOf } from './gates/attacker-reach.ts';
export { type CalibrationError, calibrationError } from './gates/calibration-error.ts';
export { type GateConfig, gateConfigSchema } from './gates/config.ts';
export { countDuplicates } from './gates/data-checks.ts';
export { type PairedDifference, pairedDifference } from './gates/paired-difference.ts';
export { type GateInputs, medianLatencyUs, runGates, type TrainingFacts } from './gates.ts';
export type { EpochProgress } from './hybrid/fit-autoencoder.ts';
export type { DetectorWatch } from './hybrid/fit-novelty.ts';
export type { OpenGradients } from './hybrid/gradient-source.ts';
export { HYBRID_TRAINER } from './hybrid/train-hybrid.ts';
export { type LabelledFlowsInput, labelFlows } from './labelled-flows.ts';
export { joinTables, type LabelledTable, selectRows, tableDigest } from './labelled-table.ts';
export {
  assignFolds,
  type LeaveTypesOutInput,
  leaveTypesOut,
  type UnseenTypesFold,
  type UnseenTypesValidation,
} from './leave-types-out.ts';
export {
  AnsweredRounds,
  type AnsweredState,
  decodeAnswered,
  encodeAnswered,
} from './secure/answered-rounds.ts';
export { toBeSigned } from './secure/messages.ts';
export {
  checkRoster,
  leastThreshold,
  parseSignedRoster,
  type Roster,
  rosterBytes,
  rosterDigest,
  type SignedRoster,
  type TrustedApprover,
  verifyRoster,
} from './secure/roster.ts';
export { type Stump, type StumpOptions, trainStump } from './stump.ts';
export { trainDetector } from './train-detector.ts';
export { TRAINER, type TrainModelInput, trainModel } from './train-model.ts';
export {
  PAUSE_CAUSES,
  type PauseCause,
  type PauseCounters,
  type TrainingLimits,
  TrainingPace,
  type TrainingPaceOptions,
  trainingLimitsSchema,
} from './training-pace.ts';
export type { TrainingProvenance, TrainingResult } from './training-result.ts';
