import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { accessHandlers } from './access.ts';
import { limitConnections } from './connection-limit.ts';
import type { Door } from './door.ts';
import { ServerError } from './errors.ts';
import { arrivalOf, Gate, type ServerOptions } from './gate.ts';
import { auditHandlers } from './handle-audit.ts';
import { custodyHandlers } from './handle-custody.ts';
import { detectionHandlers } from './handle-detections.ts';
import { eventHandlers } from './handle-events.ts';
import { keyHandlers } from './handle-keys.ts';
import { modelHandlers } from './handle-models.ts';
import { rolloutHandlers } from './handle-rollouts.ts';
import { statusHandlers } from './handle-status.ts';
import { trainingHandlers } from './handle-training.ts';
import { triageHandlers } from './handle-triage.ts';
import { updateHandlers } from './handle-updates.ts';
import { type Call, type Handlers, parsePart, type ServedGuardian, type ServerContext } from './handler.ts';
import { InferLane } from './lane/infer-lane.ts';
import { SERVER_LIMITS } from './limits.ts';
import { inferenceHandlers } from './oip/inference-handlers.ts';
import { answerBrokenRequest, labelOf, refuse } from './refuse.ts';
import type { Caller } from './roles.ts';
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
import { SheddingFront } from './shedding/shedding-front.ts';

const HANDLERS: Handlers = {
  ...inferenceHandlers,
  ...eventHandlers,
  ...detectionHandlers,
  ...modelHandlers,
  ...custodyHandlers,
  ...rolloutHandlers,
  ...updateHandlers,
  ...auditHandlers,
  ...keyHandlers,
  ...trainingHandlers,
  ...triageHandlers,
  ...accessHandlers,
  ...statusHandlers,
};

/**
 * The one application: on TCP with API keys, on the state's socket and within the process with trust. It is not
 * listening yet. Throws `server.route-undeclared` where a route is not in the table.
 */
export async function buildServer(
  guardian: ServedGuardian,
  options: ServerOptions,
): Promise<FastifyInstance> {
  const context: ServerContext = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set() };
  const app = createApplication(context, options);
  const gate = new Gate(context, app, options);
  const lane = options.trust === 'local' ? undefined : new InferLane(context, gate, app.server);
  limitConnections(app.server);
  if (lane !== undefined) {
    const front = new SheddingFront(context);
    front.attach(app.server, options.tls !== undefined);
    lane.onAnswered = (socket) => front.answered(socket);
  }
  app.decorate('door', gate.door);
  app.decorate('stillAdmits', (request: FastifyRequest) => gate.stillAdmits(request));

  app.addHook('onRoute', refuseUndeclared);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-content-type-options', 'nosniff').header('cache-control', 'no-store');
    request.caller = await gate.admit(arrivalOf(request));
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = labelOf(request);
    context.metrics.requests.add({ route, status: String(reply.statusCode) });
    if (!route.endsWith('/stream')) context.metrics.duration.observe({ route }, reply.elapsedTime / 1000);
    done();
  });
  app.addHook('preClose', async () => {
    lane?.close();
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
  await app.register(async (scope) => {
    takeAsBytes(scope);
    for (const key of ROUTE_KEYS) if (isRaw(key)) addRoute(scope, context, key);
  });
  for (const key of ROUTE_KEYS) if (!isRaw(key)) addRoute(app, context, key);
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
  interface FastifyInstance {
    /** Who comes in by network; other protocols of the same server share it. */
    door: Door;
    /** Whether who sent a request that is being answered would be let in now. */
    stillAdmits(request: FastifyRequest): Promise<boolean>;
  }
}

function createApplication(context: ServerContext, { tls }: ServerOptions): FastifyInstance {
  const http = {
    headersTimeout: SERVER_LIMITS.headersTimeoutMs,
    maxHeaderSize: SERVER_LIMITS.headerBytes,
    // The gate refuses a request without one, and by name.
    requireHostHeader: false,
  };
  // A client without a certificate may have a key: who shows none or a bad one is told at the gate.
  const https = {
    ...http,
    ...tls,
    rejectUnauthorized: false,
    handshakeTimeout: SERVER_LIMITS.handshakeTimeoutMs,
  };
  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: SERVER_LIMITS.bodyBytes,
    connectionTimeout: SERVER_LIMITS.idleTimeoutMs,
    requestTimeout: SERVER_LIMITS.requestTimeoutMs,
    keepAliveTimeout: SERVER_LIMITS.keepAliveTimeoutMs,
    maxRequestsPerSocket: SERVER_LIMITS.requestsPerConnection,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    requestIdHeader: false,
    ...(tls === undefined ? { http } : { https }),
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
    ['application/x-ndjson', 'text/tab-separated-values'],
    { parseAs: 'string' },
    async (_: unknown, body: unknown) => body,
  );
  return app;
}

/** Bodies that are not read here: of the types that the gate lets through, and of none, as Triton's clients send them. */
function takeAsBytes(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  const types = ['application/json', 'application/octet-stream', '*'];
  scope.addContentTypeParser(types, { parseAs: 'buffer' }, (_, body, done) => done(null, body));
}

function isRaw(key: RouteKey): boolean {
  return 'rawBody' in ROUTES[key];
}

/** A handler's call before the table's schemas are tied to it. */
type AnyCall = Omit<Call<RouteSpec>, 'path' | 'query' | 'body'> &
  Readonly<Record<'path' | 'query' | 'body', unknown>>;

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
        body: spec.rawBody === true ? request.body : parsePart(spec.body, 'body', request.body),
        request,
        reply,
      });
    },
  });
}
