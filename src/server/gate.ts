import type { FastifyInstance, FastifyRequest } from 'fastify';
import { peerCertificate } from './client-certificate.ts';
import { Door, type Visit } from './door.ts';
import { ServerError } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { checkHostAndOrigin, serverNames } from './host-check.ts';
import { acceptedTypes } from './openapi.ts';
import { labelOf } from './refuse.ts';
import { type Caller, localCaller, mayAct } from './roles.ts';
import { findRoute, type RouteSpec } from './routes.ts';
import type { TlsSetup } from './tls-files.ts';

export interface ServerOptions {
  /** `local`: whoever reaches it is the owner, over the state's socket or within this process. */
  readonly trust: 'api-keys' | 'local';
  /** Values of the Host header to take besides loopback; without a port the server's own is meant. */
  readonly allowedHosts?: readonly string[];
  /** Serves HTTPS with it; HTTP without. */
  readonly tls?: TlsSetup;
}

/** Decides who comes in over HTTP. */
export class Gate {
  /** Shared with other protocols of the same server. */
  readonly door: Door;
  readonly #context: ServerContext;
  readonly #app: FastifyInstance;
  readonly #options: ServerOptions;
  #names: ReadonlySet<string> | undefined;

  constructor(context: ServerContext, app: FastifyInstance, options: ServerOptions) {
    this.door = new Door(context.guardian);
    this.#context = context;
    this.#app = app;
    this.#options = options;
  }

  /**
   * Checks the address's rate, Host and Origin, who calls, the caller's rate, role and content type, in this order.
   * Throws `server.*`.
   */
  async admit(request: FastifyRequest): Promise<Caller> {
    const route = findRoute(request.method, request.routeOptions.url ?? '');
    const role = this.#roleOf(route?.spec);
    const caller = await this.#identify(request, role);
    if (route !== undefined) this.door.checkRole(caller, role, route.key);
    if (route?.spec.body !== undefined) checkContentType(request, route.spec);
    return caller;
  }

  /** Whether the caller of a long answer would still be let in: keys are revoked, tokens and certificates expire. */
  async stillAdmits(request: FastifyRequest): Promise<boolean> {
    if (this.#options.trust === 'local') return true;
    const role = this.#roleOf(findRoute(request.method, request.routeOptions.url ?? '')?.spec);
    if (role === undefined) return false;
    try {
      return role === 'anyone' || mayAct(await this.door.authenticate(this.#visit(request)), role);
    } catch {
      return false;
    }
  }

  /** The role in force: the configuration may open some routes to anyone. */
  #roleOf(spec: RouteSpec | undefined): RouteSpec['role'] | undefined {
    const { audit } = this.#context.guardian.config;
    return spec?.publicWhen !== undefined && audit[spec.publicWhen] ? 'anyone' : spec?.role;
  }

  async #identify(request: FastifyRequest, role: RouteSpec['role'] | undefined): Promise<Caller> {
    if (this.#options.trust === 'local') {
      // The socket's mode is the check there. A peer with an address would be a connection that never went past it.
      if (this.#app.server.listening && request.raw.socket.remoteAddress !== undefined) {
        throw new ServerError('server.transport-refused', 'this application serves its socket only');
      }
      return localCaller();
    }
    return await this.door.identify(this.#visit(request), role);
  }

  #visit(request: FastifyRequest): Visit {
    const { headers, raw } = request;
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    return {
      peer: raw.socket.remoteAddress ?? 'unknown',
      where: labelOf(request),
      authorization: headers.authorization,
      certificate: () => peerCertificate(raw.socket, this.#context.guardian.clock),
      checkNames: () => checkHostAndOrigin(headers, this.#serverNames(), scheme),
    };
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
