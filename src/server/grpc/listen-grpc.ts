import { once } from 'node:events';
import { createServer as createPlainServer, type Socket, type Server as SocketServer } from 'node:net';
import { createServer as createTlsServer, type SecureContextOptions, Server as TlsServer } from 'node:tls';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { limitConnections } from '../connection-limit.ts';
import type { Door } from '../door.ts';
import type { ServedGuardian } from '../handler.ts';
import { serverNames } from '../host-check.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { serverMetrics } from '../server-metrics.ts';
import type { TlsSetup } from '../tls-files.ts';
import { CallGate } from './admit-calls.ts';
import { OpenSockets } from './open-sockets.ts';
import { serviceOf } from './service.ts';
import { loadServiceDefinition, tolerant } from './service-definition.ts';

export interface GrpcOptions {
  readonly host: string;
  readonly port: number;
  /** Shared with HTTP: one rate a caller, one count of bad keys an address. */
  readonly door: Door;
  readonly tls: TlsSetup | undefined;
}

export interface GrpcListening {
  /** Host and port, as clients of gRPC are given them. */
  readonly target: string;
  /** New connections are made with these. */
  setSecureContext(context: SecureContextOptions): void;
  /** Takes no new calls, and lets those that are being answered finish, for a while. */
  close(): Promise<void>;
}

/**
 * Serves the inference protocol over gRPC. The sockets are accepted here, not by the library: connections are bounded and
 * certificates read as they are for HTTP.
 */
export async function listenGrpc(guardian: ServedGuardian, options: GrpcOptions): Promise<GrpcListening> {
  const { host, port, door, tls } = options;
  const sockets = new OpenSockets();
  const server = new Server({
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': SERVER_LIMITS.inferBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': SERVER_LIMITS.callsPerConnection,
    'grpc.max_connection_idle_ms': SERVER_LIMITS.idleTimeoutMs,
    'grpc.keepalive_time_ms': SERVER_LIMITS.idleTimeoutMs,
    'grpc.keepalive_timeout_ms': SERVER_LIMITS.handshakeTimeoutMs,
  });
  const context = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set<() => void>() };
  let names: ReadonlySet<string> | undefined;
  const gate = new CallGate({
    ...{ context, door, sockets },
    scheme: tls === undefined ? 'http' : 'https',
    names: () => {
      names ??= serverNames(listener, guardian.config.server.allowedHosts);
      return names;
    },
  });
  server.addService(tolerant(loadServiceDefinition()), serviceOf(context, gate));
  const credentials = new GatedCredentials(gate);
  const injector = server.createConnectionInjector(credentials);
  const take = (socket: Socket): void => {
    socket.on('error', () => socket.destroy());
    // Gone already, or never named: no call of it could be told from others.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    sockets.add(socket);
    injector.injectConnection(socket);
  };
  const listener = tls === undefined ? createPlainServer(take) : tlsListener(tls, take);
  listener.maxConnections = SERVER_LIMITS.connections;
  limitConnections(listener);
  listener.listen({ host, port });
  await once(listener, 'listening');
  const address = listener.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return {
    target: `${host.includes(':') ? `[${host}]` : host}:${bound}`,
    setSecureContext: (fresh) => {
      if (listener instanceof TlsServer) listener.setSecureContext(fresh);
    },
    close: async () => {
      const closed = once(listener, 'close');
      listener.close();
      injector.drain(SERVER_LIMITS.closeGraceMs);
      const late = setTimeout(() => sockets.destroyAll(), SERVER_LIMITS.closeGraceMs + 1_000);
      await closed;
      clearTimeout(late);
      injector.destroy();
      server.forceShutdown();
    },
  };
}

/** None of the library's own: TLS ends before it. They bring the gate before every call. */
class GatedCredentials extends ServerCredentials {
  readonly #gate: CallGate;

  constructor(gate: CallGate) {
    super(null);
    this.#gate = gate;
  }

  override _getInterceptors(): CallGate['interceptor'][] {
    return [this.#gate.interceptor];
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function tlsListener(tls: TlsSetup, take: (socket: Socket) => void): SocketServer {
  // A client without a certificate may have a key: who shows none or a bad one is told at the door.
  const listener = createTlsServer({
    ...tls,
    rejectUnauthorized: false,
    handshakeTimeout: SERVER_LIMITS.handshakeTimeoutMs,
    ALPNProtocols: ['h2'],
  });
  listener.on('secureConnection', (socket) => {
    if (socket.alpnProtocol === 'h2') take(socket);
    else socket.destroy();
  });
  listener.on('tlsClientError', (_, socket) => socket.destroy());
  return listener;
}
