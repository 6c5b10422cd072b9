import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadServiceDefinition, type MethodName } from '../../src/server/grpc/service-definition.ts';

type OwnCallOptions = CallOptions & { readonly key?: string; readonly signal?: AbortSignal };

/** How a call ended. */
export interface CallEnd {
  readonly status: number;
  readonly says: string;
  /** Our own code, from the trailer. */
  readonly code: string | undefined;
  readonly value: Record<string, unknown> | undefined;
}

const definition = loadServiceDefinition();
const Service = makeGenericClientConstructor(definition, 'GRPCInferenceService');

/** A client of the inference service that calls by method name. */
export class GrpcClient {
  readonly #client: Client;

  constructor(
    target: string,
    channel: ChannelCredentials = credentials.createInsecure(),
    options: object = {},
  ) {
    this.#client = new Service(target, channel, { 'grpc.use_local_subchannel_pool': 1, ...options });
  }

  call(method: MethodName, message: object, options: OwnCallOptions = {}): Promise<CallEnd> {
    const { requestSerialize } = definition[method] as (typeof definition)[string];
    return this.#send(method, message, requestSerialize, options);
  }

  #send(
    method: MethodName,
    message: object,
    requestSerialize: (value: object) => Buffer,
    { key, signal, ...rest }: OwnCallOptions,
  ): Promise<CallEnd> {
    const metadata = keyMetadata(key);
    const { path, responseDeserialize } = definition[method] as (typeof definition)[string];
    return new Promise((resolve) => {
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        metadata,
        rest,
        (error: ServiceError | null, value?: Record<string, unknown>) => {
          resolve({
            status: error?.code ?? 0,
            says: error?.details ?? '',
            code: error?.metadata?.get('guardian-code').map(String)[0],
            value,
          });
        },
      );
      signal?.addEventListener('abort', () => call.cancel());
    });
  }

  /** A message as these very bytes. */
  callBytes(method: MethodName, bytes: Buffer, key?: string): Promise<CallEnd> {
    return this.#send(method, bytes, () => bytes, key === undefined ? {} : { key });
  }

  stream(key?: string) {
    const { path, requestSerialize, responseDeserialize } =
      definition.ModelStreamInfer as (typeof definition)[string];
    return this.#client.makeBidiStreamRequest<object, Record<string, unknown>>(
      path,
      requestSerialize,
      responseDeserialize,
      keyMetadata(key),
    );
  }

  close(): void {
    this.#client.close();
  }
}

function keyMetadata(key: string | undefined): Metadata {
  const metadata = new Metadata();
  if (key !== undefined) metadata.set('authorization', `Bearer ${key}`);
  return metadata;
}
