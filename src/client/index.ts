export { GuardianClient, type GuardianClientOptions } from './client.ts';
export {
  CLIENT_ERRORS,
  type ClientErrorCategory,
  type ClientErrorCode,
  GuardianClientError,
} from './errors.ts';
export type { RequestArguments, RouteRequest } from './request.ts';
export type { RouteKey, Routes } from './route-types.ts';
export type { InferredRows } from './tensors.ts';
export type { ClientDetection } from './watch-detections.ts';
