import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { PresentedKey } from './access-key.ts';
import { peerCertificate } from './client-certificate.ts';
import { Door, type Visit } from './door.ts';
import { ServerError } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { checkHostAndOrigin, serverNames } from './host-check.ts';
import { acceptedTypes } from './openapi.ts';
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

/** A request at the gate: its headers have come, its body may not. */
export interface Arrival {
  readonly method: string;
  /** Path of the route as declared; empty where there is none. */
  readonly url: string;
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders;
  readonly socket: Socket;
  /** As in `Visit`. */
  readonly kept?: { key?: PresentedKey };
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
  async admit(arrival: Arrival): Promise<Caller> {
    const route = findRoute(arrival.method, arrival.url);
    const role = this.#roleOf(route?.spec);
    const caller = await this.#identify(arrival, role);
    if (route !== undefined) this.door.checkRole(caller, role, route.key);
    if (route?.spec.body !== undefined) checkContentType(arrival.headers, route.spec);
    return caller;
  }

  /** Whether the caller of a long answer would still be let in: keys are revoked, tokens and certificates expire. */
  async stillAdmits(request: FastifyRequest): Promise<boolean> {
    if (this.#options.trust === 'local') return true;
    const arrival = arrivalOf(request);
    const role = this.#roleOf(findRoute(arrival.method, arrival.url)?.spec);
    if (role === undefined) return false;
    try {
      return role === 'anyone' || mayAct(await this.door.authenticate(this.#visit(arrival)), role);
    } catch {
      return false;
    }
  }

  /** The role in force: the configuration may open some routes to anyone. */
  #roleOf(spec: RouteSpec | undefined): RouteSpec['role'] | undefined {
    const { audit } = this.#context.guardian.config;
    return spec?.publicWhen !== undefined && audit[spec.publicWhen] ? 'anyone' : spec?.role;
  }

  async #identify(arrival: Arrival, role: RouteSpec['role'] | undefined): Promise<Caller> {
    if (this.#options.trust === 'local') {
      // The socket's mode is the check there. A peer with an address would be a connection that never went past it.
      if (this.#app.server.listening && arrival.socket.remoteAddress !== undefined) {
        throw new ServerError('server.transport-refused', 'this application serves its socket only');
      }
      return localCaller();
    }
    return await this.door.identify(this.#visit(arrival), role);
  }

  #visit({ method, url, headers, socket, kept }: Arrival): Visit {
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    return {
      peer: socket.remoteAddress ?? 'unknown',
      where: findRoute(method, url)?.key ?? 'unknown',
      authorization: headers.authorization,
      ...(kept !== undefined && { kept }),
      certificate: () => peerCertificate(socket, this.#context.guardian.clock),
      checkNames: () => checkHostAndOrigin(headers, this.#serverNames(), scheme),
    };
  }

  #serverNames(): ReadonlySet<string> {
    if (!this.#app.server.listening) return serverNames(this.#app.server, this.#options.allowedHosts ?? []);
    this.#names ??= serverNames(this.#app.server, this.#options.allowedHosts ?? []);
    return this.#names;
  }
}

export function arrivalOf({ method, routeOptions, headers, raw }: FastifyRequest): Arrival {
  return { method, url: routeOptions.url ?? '', headers, socket: raw.socket };
}

/** Throws `server.content-type`. A body without a type is left to the parser of the body's shape. */
function checkContentType(headers: IncomingHttpHeaders, spec: RouteSpec): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new ServerError('server.content-type', 'expected a body without content encoding');
  }
  const type = headers['content-type'];
  if (type === undefined) return;
  const accepted = acceptedTypes(spec);
  if (accepted.includes(type)) return;
  const [essence = '', ...parameters] = type
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  const isUtf8 = parameters.every((each) => !each.startsWith('charset=') || /^charset="?utf-8"?$/.test(each));
  if (!accepted.includes(essence) || !isUtf8) {
    throw new ServerError('server.content-type', `expected ${accepted.join(' or ')} in UTF-8`);
  }
}
