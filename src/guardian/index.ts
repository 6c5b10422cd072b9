export type { HostReport } from './feature-knowledge.ts';
export { Guardian, type GuardianOptions } from './guardian.ts';
export type { FlowOutcome, IngestOptions, IngestResult } from './live-route.ts';
export { openGuardian } from './open-guardian.ts';
export { QUEUE_ERRORS, QueueError, type QueueErrorCode } from './queue/errors.ts';
export {
  EventQueue,
  type EventQueueParts,
  type EventState,
  type SubmittedFlows,
} from './queue/event-queue.ts';
export {
  EVENT_WORKER_DEFAULTS,
  EventWorker,
  type EventWorkerOptions,
  type EventWorkerParts,
  type EventWorkerStats,
} from './queue/event-worker.ts';
export {
  type Membership,
  SecureIdentities,
  type SecureIdentity,
  type SecureRole,
} from './secure-identities.ts';
export { type CheckpointMark, TrainingKeys } from './training-keys.ts';
export {
  RUN_STATES,
  type RunState,
  type TrainingRunCurve,
  type TrainingRunSummary,
  TrainingRuns,
} from './training-runs.ts';
