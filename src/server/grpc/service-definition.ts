import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** The methods of the service, by name. */
export const METHODS = [
  'ServerLive',
  'ServerReady',
  'ModelReady',
  'ServerMetadata',
  'ModelMetadata',
  'ModelInfer',
  'ModelStreamInfer',
  'ModelStatistics',
  'RepositoryIndex',
  'RepositoryModelLoad',
  'RepositoryModelUnload',
] as const;

export type MethodName = (typeof METHODS)[number];

/** Reads `oip.proto`. 64-bit numbers become doubles: a size or a time that does not fit is refused for its size anyway. */
export function loadServiceDefinition(): ServiceDefinition {
  const path = fileURLToPath(new URL('oip.proto', import.meta.url));
  const loaded = loadSync(path, {
    keepCase: true,
    longs: Number,
    defaults: true,
    oneofs: true,
  });
  return loaded['inference.GRPCInferenceService'] as ServiceDefinition;
}
