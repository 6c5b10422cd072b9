import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { accessHandlers } from './access.ts';
import { authenticate } from './access-key.ts';
import { BadKeyCount } from './bad-key-count.ts';
import { asGuardianError, refusalOf } from './error-mapping.ts';
import { ServerError, type ServerErrorCode } from './errors.ts';
import { auditHandlers } from './handle-audit.ts';
import { detectionHandlers } from './handle-detections.ts';
import { eventHandlers } from './handle-events.ts';
import { inferenceHandlers } from './handle-inference.ts';
import { modelHandlers } from './handle-models.ts';
import { statusHandlers } from './handle-status.ts';
import { type Call, type Handlers, parsePart, type ServedGuardian, type ServerContext } from './handler.ts';
import { checkHostAndOrigin, serverNames } from './host-check.ts';
import { SERVER_LIMITS } from './limits.ts';
import { acceptedTypes } from './openapi.ts';
import { type Caller, localCaller, mayAct } from './roles.ts';
import {
  findRoute,
  methodsOf,
  ROUTE_KEYS,
  ROUTES,
  type RouteKey,
  type RouteSpec,
  splitKey,
} from './routes.ts';
import { serverMetrics } from './server-metrics.ts';

export interface ServerOptions {
  /** `local`: whoever reaches it is the owner, over the state's socket or within this process. */
  readonly trust: 'api-keys' | 'local';
  /** `name:port` values of the Host header to take besides loopback at the server's own port. */
  readonly allowedHosts?: readonly string[];
}

const HANDLERS: Handlers = {
  ...inferenceHandlers,
  ...eventHandlers,
  ...detectionHandlers,
  ...modelHandlers,
  ...auditHandlers,
  ...accessHandlers,
  ...statusHandlers,
};

const NOBODY: Caller = { principal: 'anyone', roles: [] };

/**
 * The one application: on TCP with API keys, on the state's socket and within the process with trust. It is not
 * listening yet. Throws `server.route-undeclared` where a route is not in the table.
 */
export async function buildServer(
  guardian: ServedGuardian,
  options: ServerOptions,
): Promise<FastifyInstance> {
  const context: ServerContext = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set() };
  const app = createApplication(context);
  const gate = new Gate(context, app, options);

  app.addHook('onRoute', refuseUndeclared);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-content-type-options', 'nosniff').header('cache-control', 'no-store');
    request.caller = await gate.admit(request);
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = labelOf(request);
    context.metrics.requests.add({ route, status: String(reply.statusCode) });
    if (!route.endsWith('/stream')) context.metrics.duration.observe({ route }, reply.elapsedTime / 1000);
  });
  app.addHook('preClose', async () => {
    for (const end of context.streams) end();
  });
  app.setErrorHandler((error, request, reply) => refuse(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] as string;
    const methods = methodsOf(path);
    if (methods.length === 0) throw new ServerError('server.not-found', 'the server has no such path');
    reply.header('allow', methods.join(', '));
    throw new ServerError('server.method-not-allowed', `expected ${methods.join(' or ')}`);
  });
  for (const key of ROUTE_KEYS) addRoute(app, context, key);
  await app.ready();
  return app;
}

/** Refuses a route that the table does not hold. Throws `server.route-undeclared`. */
export function refuseUndeclared(route: { readonly method: string | string[]; readonly url: string }): void {
  for (const method of [route.method].flat()) {
    if (findRoute(method, route.url) === undefined) {
      throw new ServerError(
        'server.route-undeclared',
        `${method} ${route.url} is not in the table of routes`,
      );
    }
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    caller: Caller;
  }
}

function createApplication(context: ServerContext): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: SERVER_LIMITS.bodyBytes,
    connectionTimeout: SERVER_LIMITS.idleTimeoutMs,
    requestTimeout: SERVER_LIMITS.requestTimeoutMs,
    keepAliveTimeout: SERVER_LIMITS.keepAliveTimeoutMs,
    maxRequestsPerSocket: SERVER_LIMITS.requestsPerConnection,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    requestIdHeader: false,
    http: {
      headersTimeout: SERVER_LIMITS.headersTimeoutMs,
      maxHeaderSize: SERVER_LIMITS.headerBytes,
    },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: SERVER_LIMITS.parameterLength },
    clientErrorHandler: (error, socket) => answerBrokenRequest(context, error, socket),
    frameworkErrors: (error, request, reply) => refuse(context, error, request, reply),
  });
  app.server.maxConnections = SERVER_LIMITS.connections;
  app.decorateRequest('caller');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    app.getDefaultJsonParser('error', 'error'),
  );
  app.addContentTypeParser(
    'application/x-ndjson',
    { parseAs: 'string' },
    async (_: unknown, body: unknown) => body,
  );
  return app;
}

type AnyCall = Omit<Call<RouteSpec>, 'path' | 'query' | 'body'> &
  Readonly<Record<'path' | 'query' | 'body', unknown>>;

/** Decides who comes in. */
class Gate {
  readonly #context: ServerContext;
  readonly #app: FastifyInstance;
  readonly #options: ServerOptions;
  readonly #badKeys: BadKeyCount;
  #names: ReadonlySet<string> | undefined;

  constructor(context: ServerContext, app: FastifyInstance, options: ServerOptions) {
    this.#context = context;
    this.#app = app;
    this.#options = options;
    this.#badKeys = new BadKeyCount(context.guardian.clock);
  }

  /** Checks Host and Origin, key, role and content type, in this order. Throws `server.*`. */
  async admit(request: FastifyRequest): Promise<Caller> {
    const route = findRoute(request.method, request.routeOptions.url ?? '');
    const caller = await this.#identify(request, route?.spec);
    if (route !== undefined && route.spec.role !== 'anyone' && !mayAct(caller, route.spec.role)) {
      this.#deny(caller.principal, 'server.role-missing', route.key);
      throw new ServerError('server.role-missing', `expected a key with the role ${route.spec.role}`);
    }
    if (route?.spec.body !== undefined) checkContentType(request, route.spec);
    return caller;
  }

  async #identify(request: FastifyRequest, spec: RouteSpec | undefined): Promise<Caller> {
    const { guardian } = this.#context;
    if (this.#options.trust === 'local') {
      // The socket's mode is the check there. A peer with an address would be a connection that never went past it.
      if (this.#app.server.listening && request.raw.socket.remoteAddress !== undefined) {
        throw new ServerError('server.transport-refused', 'this application serves its socket only');
      }
      return localCaller();
    }
    const peer = request.raw.socket.remoteAddress ?? 'unknown';
    const where = labelOf(request);
    try {
      checkHostAndOrigin(request.headers, this.#serverNames());
      if (spec?.role === 'anyone') return NOBODY;
      return await authenticate(request.headers.authorization, guardian.database.accessKeys, guardian.clock);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (this.#badKeys.add(peer)) {
        throw new ServerError('server.too-many-attempts', 'too many refused requests from here', {
          cause: error,
        });
      }
      this.#deny(`peer:${peer}`, error.code as ServerErrorCode, where);
      throw error;
    }
  }

  #deny(principal: string, reason: ServerErrorCode, route: string): void {
    this.#context.guardian.denied({ principal, reason, action: 'server.request', subject: route });
  }

  #serverNames(): ReadonlySet<string> {
    if (!this.#app.server.listening) return serverNames(this.#app.server, this.#options.allowedHosts ?? []);
    this.#names ??= serverNames(this.#app.server, this.#options.allowedHosts ?? []);
    return this.#names;
  }
}

function addRoute<K extends RouteKey>(app: FastifyInstance, context: ServerContext, key: K): void {
  const spec: RouteSpec = ROUTES[key];
  // The table ties each handler to the schemas of its own route; here they are all alike.
  const handle = HANDLERS[key] as (call: AnyCall) => Promise<unknown> | unknown;
  app.route({
    ...splitKey(key),
    ...(spec.bodyBytes !== undefined && { bodyLimit: spec.bodyBytes }),
    handler: async (request, reply) => {
      if (spec.status !== undefined) reply.status(spec.status);
      return await handle({
        context,
        guardian: context.guardian,
        caller: request.caller,
        path: parsePart(spec.path, 'path', request.params),
        query: parsePart(spec.query, 'query', request.query),
        body: parsePart(spec.body, 'body', request.body),
        request,
        reply,
      });
    },
  });
}

/** Throws `server.content-type`. A body without a type is left to the parser of the body's shape. */
function checkContentType({ headers }: FastifyRequest, spec: RouteSpec): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new ServerError('server.content-type', 'expected a body without content encoding');
  }
  const type = headers['content-type'];
  if (type === undefined) return;
  const accepted = acceptedTypes(spec);
  const [essence = '', ...parameters] = type
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  const isUtf8 = parameters.every((each) => !each.startsWith('charset=') || /^charset="?utf-8"?$/.test(each));
  if (!accepted.includes(essence) || !isUtf8) {
    throw new ServerError('server.content-type', `expected ${accepted.join(' or ')} in UTF-8`);
  }
}

function refuse(
  context: ServerContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, headers, body } = refusalOf(error);
  context.metrics.refusals.add({ code: body.code, category: body.category });
  const known = asGuardianError(error);
  if (status >= 500 && status !== 503) {
    const cause = known.cause instanceof Error ? known.cause.stack : undefined;
    context.guardian.logger.error(
      { code: body.code, route: labelOf(request), fatal: known.fatal, cause },
      body.error,
    );
  }
  return reply.status(status).headers(headers).type('application/json; charset=utf-8').send(body);
}

/** What never became a request: not HTTP, too long a header, or too slow. */
function answerBrokenRequest(context: ServerContext, error: Error & { code?: string }, socket: Socket): void {
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const refused = new ServerError(
    isLate ? 'server.request-timeout' : 'server.request-malformed',
    isLate ? 'the request did not arrive in time' : 'expected an HTTP request with headers of moderate size',
  );
  const { status, body } = refusalOf(refused);
  context.metrics.refusals.add({ code: body.code, category: body.category });
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${error.code === 'HPE_HEADER_OVERFLOW' ? 431 : status} Refused`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}

/** Route as declared, so that metric labels stay bounded. */
function labelOf(request: FastifyRequest): string {
  return findRoute(request.method, request.routeOptions?.url ?? '')?.key ?? 'unknown';
}
