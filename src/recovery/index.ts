export type { ShapeOfValues } from './redact.ts';
export { bundleBytes, type ReportParts, reportBundle } from './report-bundle.ts';
