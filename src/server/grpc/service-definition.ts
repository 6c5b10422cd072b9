import { fileURLToPath } from 'node:url';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ServerError } from '../errors.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { envelopeBytes } from './message-envelope.ts';

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

/** What a message is decoded to that is not of its type: the library would say that the fault is the server's own. */
export const MALFORMED: unique symbol = Symbol('malformed');

/** Reads `oip.proto`. 64-bit numbers become doubles: a size or a time that does not fit is refused for its size anyway. */
export function loadServiceDefinition(): ServiceDefinition {
  const path = fileURLToPath(new URL('oip.proto', import.meta.url));
  const loaded = loadSync(path, {
    keepCase: true,
    longs: Number,
    defaults: true,
    oneofs: true,
  });
  const service = loaded['inference.GRPCInferenceService'] as ServiceDefinition;
  return {
    ...service,
    ...Object.fromEntries(
      (['ModelInfer', 'ModelStreamInfer'] as const).map((name) => {
        const method = service[name] as ServiceDefinition[string];
        return [name, { ...method, requestDeserialize: bounded(method.requestDeserialize) }];
      }),
    ),
  };
}

/** A few kilobytes of empty parts would be decoded to gigabytes of objects: such a message is refused undecoded. */
function bounded(decode: (bytes: Buffer) => unknown): (bytes: Buffer) => unknown {
  return (bytes) => {
    if (envelopeBytes(bytes) <= SERVER_LIMITS.inferEnvelopeBytes) return decode(bytes);
    throw new ServerError('server.body-too-large', 'the message holds too much beside packed or raw values');
  };
}

/** The same for a server: a message that cannot be decoded becomes `MALFORMED`. */
export function tolerant(definition: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): unknown => {
        try {
          return method.requestDeserialize(bytes) as unknown;
        } catch {
          return MALFORMED;
        }
      };
      return [name, { ...method, requestDeserialize }];
    }),
  );
}
