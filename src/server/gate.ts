import type { FastifyInstance, FastifyRequest } from 'fastify';
import { authenticate } from './access-key.ts';
import { BadKeyCount } from './bad-key-count.ts';
import { ServerError, type ServerErrorCode } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { checkHostAndOrigin, serverNames } from './host-check.ts';
import { acceptedTypes } from './openapi.ts';
import { labelOf } from './refuse.ts';
import { type Caller, localCaller, mayAct } from './roles.ts';
import { findRoute, type RouteSpec } from './routes.ts';

export interface ServerOptions {
  /** `local`: whoever reaches it is the owner, over the state's socket or within this process. */
  readonly trust: 'api-keys' | 'local';
  /** `name:port` values of the Host header to take besides loopback at the server's own port. */
  readonly allowedHosts?: readonly string[];
}

const NOBODY: Caller = { principal: 'anyone', roles: [] };

/** Decides who comes in. */
export class Gate {
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
