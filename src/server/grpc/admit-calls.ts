import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerMethodDefinition,
} from '@grpc/grpc-js';
import { trustedProxies } from '../caller-source.ts';
import { peerCertificate } from '../client-certificate.ts';
import type { Door, Visit } from '../door.ts';
import { asGuardianError, grpcStatusOf } from '../error-mapping.ts';
import { ServerError } from '../errors.ts';
import type { ServerContext } from '../handler.ts';
import { checkHostAndOrigin } from '../host-check.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Caller, Role } from '../roles.ts';
import type { OpenSockets } from './open-sockets.ts';
import type { MethodName } from './service-definition.ts';

/** Who may call a method; the same as the route of REST that says the same. */
export const METHOD_ROLES: Readonly<Record<MethodName, Role | 'anyone'>> = {
  ServerLive: 'anyone',
  ServerReady: 'viewer',
  ModelReady: 'viewer',
  ServerMetadata: 'viewer',
  ModelMetadata: 'viewer',
  ModelInfer: 'viewer',
  ModelStreamInfer: 'viewer',
  ModelStatistics: 'viewer',
  RepositoryIndex: 'viewer',
  RepositoryModelLoad: 'operator',
  RepositoryModelUnload: 'operator',
};

/** A call that was let in. */
export interface Admitted {
  readonly caller: Caller;
  /** Address it comes from: the peer's, or whom a trusted proxy speaks for. */
  readonly source: string;
  /** Asks again, as for a call of its own: for each further request of a stream. Throws `server.*`. */
  readonly again: () => Promise<Caller>;
}

export interface CallGateParts {
  readonly context: ServerContext;
  readonly door: Door;
  readonly sockets: OpenSockets;
  /** By which the server may be called. */
  readonly names: () => ReadonlySet<string>;
  readonly scheme: 'http' | 'https';
}

/**
 * Decides who comes in over gRPC: by the door that HTTP has, and before any byte of a message is read. Calls that were let
 * in are found by their metadata.
 */
export class CallGate {
  readonly #parts: CallGateParts;
  readonly #admitted = new WeakMap<Metadata, Admitted>();

  constructor(parts: CallGateParts) {
    this.#parts = parts;
  }

  readonly interceptor: ServerInterceptor = (method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const started = performance.now();
        next({
          onReceiveMetadata: (metadata, pass) => {
            this.#admit(nameOf(method), call, metadata).then(
              () => pass(metadata),
              (error: unknown) => call.sendStatus(statusOf(this.#parts.context, error)),
            );
          },
        });
        const { metrics } = this.#parts.context;
        const label = { method: nameOf(method) };
        this.#ends.set(call, (code) => {
          metrics.calls.add({ ...label, code: String(code) });
          if (label.method !== 'ModelStreamInfer') {
            metrics.callDuration.observe(label, (performance.now() - started) / 1000);
          }
        });
      },
      sendStatus: (status, next) => {
        this.#ends.get(call)?.(status.code ?? 2);
        this.#ends.delete(call);
        next(status);
      },
    });

  readonly #ends = new WeakMap<ServerInterceptingCallInterface, (code: number) => void>();

  /** What is known of a call that a handler was given. */
  find(metadata: Metadata): Admitted {
    const admitted = this.#admitted.get(metadata);
    if (admitted !== undefined) return admitted;
    throw new ServerError('server.key-missing', 'the call did not come through the door');
  }

  async #admit(method: MethodName, call: ServerInterceptingCallInterface, metadata: Metadata): Promise<void> {
    const { door, sockets, context, names, scheme } = this.#parts;
    const socket = sockets.find(call.getConnectionInfo());
    if (socket === undefined) throw new ServerError('server.transport-refused', 'the connection has gone');
    const where = `grpc ${method}`;
    const source = socket.remoteAddress ?? 'unknown';
    const visit: Visit = {
      peer: source,
      where,
      authorization: textOf(metadata, 'authorization'),
      certificate: () => peerCertificate(socket, context.guardian.clock),
      checkNames: () =>
        checkHostAndOrigin({ host: call.getHost(), origin: textOf(metadata, 'origin') }, names(), scheme),
    };
    const role = METHOD_ROLES[method];
    const again = async (): Promise<Caller> => {
      const caller = await door.identify(visit, role);
      door.checkRole(caller, role, where);
      return caller;
    };
    const forwarded = textOf(metadata, 'x-forwarded-for');
    const from = trustedProxies(context.guardian).sourceOf(source, forwarded);
    this.#admitted.set(metadata, { caller: await again(), source: from, again });
  }
}

/** What a caller of gRPC is told about an error: status, message, and our code, category and pushback beside them. */
export function statusOf(
  context: ServerContext,
  error: unknown,
): { readonly code: number; readonly details: string; readonly metadata: Metadata } {
  const known = asGuardianError(error);
  const code = grpcStatusOf(known);
  context.metrics.refusals.add({ code: known.code, category: known.category });
  if (code === 13 || code === 15) {
    const cause = known.cause instanceof Error ? known.cause.stack : undefined;
    context.guardian.logger.error({ code: known.code, fatal: known.fatal, cause }, known.message);
  }
  const metadata = new Metadata();
  metadata.set('guardian-code', known.code);
  metadata.set('guardian-category', known.category);
  // The name by which clients of gRPC look for it (proposal A6).
  if (known.retry && known.retryAfterMs !== undefined) {
    metadata.set('grpc-retry-pushback-ms', String(Math.ceil(known.retryAfterMs)));
  }
  // Names that a message brought along stand in it, as long as they came.
  const details = known.message.slice(0, SERVER_LIMITS.statusDetails).toWellFormed();
  return { code, details, metadata };
}

function nameOf({ path }: ServerMethodDefinition<unknown, unknown>): MethodName {
  return path.slice(path.lastIndexOf('/') + 1) as MethodName;
}

function textOf(metadata: Metadata, name: string): string | undefined {
  const values = metadata.get(name);
  return values.length === 0 ? undefined : values.map(String).join(', ');
}
