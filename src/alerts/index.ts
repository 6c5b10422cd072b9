export { type AlertsConfig, alertsConfigSchema, readAlertsConfig } from './config.ts';
export {
  type Detection,
  type FlowSample,
  type Party,
  readDetection,
  SEVERITIES,
  type Severity,
} from './detection.ts';
export { type AlertsStats, DetectionStore, type DetectionStoreOptions } from './detection-store.ts';
export { ALERTS_ERRORS, AlertsError, type AlertsErrorCode } from './errors.ts';
export { escapeDeep, escapeQuoted, escapeWire } from './escape.ts';
export type { JudgedRecord } from './finding.ts';
export { formatCef } from './format-cef.ts';
export { eveOf, formatEve } from './format-eve.ts';
export { formatLine } from './format-line.ts';
export { formatOcsf, ocsfOf } from './format-ocsf.ts';
export { isInternal, severityOf, type Technique, techniqueOf } from './kinds.ts';
export { PRODUCT } from './product.ts';
export type { Subscription } from './subscription.ts';
export { SuppressionList, type SuppressionRule } from './suppression.ts';
