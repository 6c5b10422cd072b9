export { type AlertsConfig, alertsConfigSchema, readAlertsConfig } from './config.ts';
export { type Detection, type FlowSample, type Party, readDetection } from './detection.ts';
export {
  type AlertsStats,
  DetectionStore,
  type DetectionStoreOptions,
  type FinishedEvent,
} from './detection-store.ts';
export { ALERTS_ERRORS, AlertsError, type AlertsErrorCode } from './errors.ts';
export { escapeDeep, escapeQuoted, escapeWire } from './escape.ts';
export type { JudgedRecord } from './finding.ts';
export { formatCef } from './format-cef.ts';
export { eveOf, formatEve } from './format-eve.ts';
export { formatLine } from './format-line.ts';
export { formatOcsf, ocsfOf } from './format-ocsf.ts';
export { PRIVATE_NETWORKS, type Technique } from './kinds.ts';
export { PRODUCT } from './product.ts';
export { SEVERITIES, type Severity } from './severity.ts';
export { NOTICE_FORMATS, type SinkConfig } from './sinks/config.ts';
export { NoticeDelivery, type NoticeDeliveryParts } from './sinks/notice-delivery.ts';
export type { LostNotice, SinkStats } from './sinks/sink-loop.ts';
export type { Subscription } from './subscription.ts';
export { SuppressionList, type SuppressionRule } from './suppression.ts';
export { type JudgedModel, type Labelled, type NewRule, Triage, VERDICTS_OF_ANALYSTS } from './triage.ts';
