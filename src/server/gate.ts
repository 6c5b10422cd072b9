import type { FastifyInstance, FastifyRequest } from 'fastify';
import { authenticate, bearerText } from './access-key.ts';
import { BadKeyCount } from './bad-key-count.ts';
import { certificateCaller, peerCertificate } from './client-certificate.ts';
import { ServerError, type ServerErrorCode } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { checkHostAndOrigin, serverNames } from './host-check.ts';
import { SERVER_LIMITS } from './limits.ts';
import { acceptedTypes } from './openapi.ts';
import { labelOf } from './refuse.ts';
import { type Caller, localCaller, mayAct } from './roles.ts';
import { findRoute, type RouteSpec } from './routes.ts';
import type { TlsSetup } from './tls-files.ts';
import { addressGroup, TokenBuckets } from './token-buckets.ts';
import { looksLikeToken, TokenVerifier } from './token-verifier.ts';

export interface ServerOptions {
  /** `local`: whoever reaches it is the owner, over the state's socket or within this process. */
  readonly trust: 'api-keys' | 'local';
  /** Values of the Host header to take besides loopback; without a port the server's own is meant. */
  readonly allowedHosts?: readonly string[];
  /** Serves HTTPS with it; HTTP without. */
  readonly tls?: TlsSetup;
}

const NOBODY: Caller = { principal: 'anyone', roles: [] };

/** Decides who comes in. */
export class Gate {
  readonly #context: ServerContext;
  readonly #app: FastifyInstance;
  readonly #options: ServerOptions;
  readonly #badKeys: BadKeyCount;
  readonly #addresses: TokenBuckets;
  readonly #principals: TokenBuckets;
  readonly #tokens: TokenVerifier | undefined;
  #names: ReadonlySet<string> | undefined;

  constructor(context: ServerContext, app: FastifyInstance, options: ServerOptions) {
    const { clock, config } = context.guardian;
    const { addressPerSecond, addressBurst, principalPerSecond, principalBurst } = config.server.rateLimit;
    const bucket = (perSecond: number, burst: number) =>
      new TokenBuckets(clock, { perSecond, burst }, SERVER_LIMITS.bucketNames);
    this.#context = context;
    this.#app = app;
    this.#options = options;
    this.#badKeys = new BadKeyCount(clock);
    this.#addresses = bucket(addressPerSecond, addressBurst);
    this.#principals = bucket(principalPerSecond, principalBurst);
    this.#tokens = options.trust === 'local' ? undefined : TokenVerifier.of(config.server.oidc, clock);
  }

  /**
   * Checks the address's rate, Host and Origin, who calls, the caller's rate, role and content type, in this order.
   * Throws `server.*`.
   */
  async admit(request: FastifyRequest): Promise<Caller> {
    const route = findRoute(request.method, request.routeOptions.url ?? '');
    const role = this.#roleOf(route?.spec);
    const caller = await this.#identify(request, role);
    if (route !== undefined && role !== undefined && role !== 'anyone' && !mayAct(caller, role)) {
      this.#deny(caller.principal, 'server.role-missing', route.key);
      throw new ServerError('server.role-missing', `expected a caller with the role ${role}`);
    }
    if (route?.spec.body !== undefined) checkContentType(request, route.spec);
    return caller;
  }

  /** Whether the caller of a long answer would still be let in: keys are revoked, tokens and certificates expire. */
  async stillAdmits(request: FastifyRequest): Promise<boolean> {
    if (this.#options.trust === 'local') return true;
    const role = this.#roleOf(findRoute(request.method, request.routeOptions.url ?? '')?.spec);
    if (role === undefined) return false;
    try {
      return role === 'anyone' || mayAct(await this.#authenticate(request), role);
    } catch {
      return false;
    }
  }

  /** Reads the keys of the token issuer anew. Throws `server.issuer-unavailable`. */
  async refresh(): Promise<void> {
    await this.#tokens?.refresh();
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
    const peer = request.raw.socket.remoteAddress ?? 'unknown';
    const where = labelOf(request);
    this.#limit(this.#addresses, addressGroup(peer), { principal: `peer:${peer}`, where });
    try {
      const scheme = this.#options.tls === undefined ? 'http' : 'https';
      checkHostAndOrigin(request.headers, this.#serverNames(), scheme);
      if (role === 'anyone') return NOBODY;
      const caller = await this.#authenticate(request);
      this.#limit(this.#principals, caller.principal, { principal: caller.principal, where });
      return caller;
    } catch (error) {
      // What is told of a known caller, and what is no fault of this one, is not counted against the address.
      if (!(error instanceof ServerError) || error.category !== 'security') throw error;
      if (error.code === 'server.rate-limited') throw error;
      if (this.#badKeys.add(addressGroup(peer))) {
        // Collapsed in the log: who guesses on must not drop out of it.
        this.#deny(`peer:${peer}`, 'server.too-many-attempts', where);
        throw new ServerError('server.too-many-attempts', 'too many refused requests from here', {
          cause: error,
        });
      }
      this.#deny(`peer:${peer}`, error.code as ServerErrorCode, where);
      throw error;
    }
  }

  /** A key or a token in the header decides; else the certificate. A bad certificate is refused beside anything. */
  async #authenticate({ headers, raw }: FastifyRequest): Promise<Caller> {
    const { database, clock } = this.#context.guardian;
    const certificate = peerCertificate(raw.socket, clock);
    const header = headers.authorization;
    if (header === undefined && certificate !== undefined) {
      return await certificateCaller(certificate, database.accessKeys, clock);
    }
    const text = bearerText(header ?? '');
    if (this.#tokens !== undefined && looksLikeToken(text)) return await this.#tokens.verify(text);
    return await authenticate(header, database.accessKeys, clock);
  }

  /** Throws `server.rate-limited`. */
  #limit(
    buckets: TokenBuckets,
    name: string,
    who: { readonly principal: string; readonly where: string },
  ): void {
    const retryAfterMs = buckets.take(name);
    if (retryAfterMs === 0) return;
    this.#deny(who.principal, 'server.rate-limited', who.where);
    throw new ServerError('server.rate-limited', 'more requests than this server takes from one caller', {
      retryAfterMs,
    });
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
