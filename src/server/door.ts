import { authenticate, bearerText, type PresentedKey, presentKey } from './access-key.ts';
import { knownKeys } from './access-key-cache.ts';
import { BadKeyCount } from './bad-key-count.ts';
import { certificateCaller, type MachineCertificate } from './client-certificate.ts';
import { ServerError, type ServerErrorCode } from './errors.ts';
import type { ServedGuardian } from './handler.ts';
import { SERVER_LIMITS } from './limits.ts';
import { type Caller, mayAct, type Role } from './roles.ts';
import { addressGroup, TokenBuckets } from './token-buckets.ts';
import { looksLikeToken, TokenVerifier } from './token-verifier.ts';

/** Someone at the door, whatever the protocol. */
export interface Visit {
  /** Address of the peer. */
  readonly peer: string;
  /** The route or method as declared, for the log. */
  readonly where: string;
  readonly authorization: string | undefined;
  /** Where the key of this very header is kept between requests, so that it is digested once. */
  readonly kept?: { key?: PresentedKey };
  /** The client certificate of the connection. Throws `server.certificate-wrong`. */
  readonly certificate: () => MachineCertificate | undefined;
  /** What else is asked of a request of this protocol. Throws `server.*` of category security. */
  readonly checkNames?: () => void;
}

const NOBODY: Caller = { principal: 'anyone', roles: [] };

/** Who comes in from the network: rates by address and by caller, keys, tokens and certificates, roles. */
export class Door {
  readonly #guardian: ServedGuardian;
  readonly #badKeys: BadKeyCount;
  readonly #addresses: TokenBuckets;
  readonly #principals: TokenBuckets;
  readonly #tokens: TokenVerifier | undefined;

  constructor(guardian: ServedGuardian) {
    const { clock, config } = guardian;
    const { addressPerSecond, addressBurst, principalPerSecond, principalBurst } = config.server.rateLimit;
    const bucket = (perSecond: number, burst: number) =>
      new TokenBuckets(clock, { perSecond, burst }, SERVER_LIMITS.bucketNames);
    this.#guardian = guardian;
    this.#badKeys = new BadKeyCount(clock);
    this.#addresses = bucket(addressPerSecond, addressBurst);
    this.#principals = bucket(principalPerSecond, principalBurst);
    this.#tokens = TokenVerifier.of(config.server.oidc, clock);
  }

  /**
   * Checks the address's rate, what the protocol asks for, who calls, and the caller's rate, in this order. Who may
   * come as anyone is not asked for a key. Throws `server.*`.
   */
  async identify(visit: Visit, role: Role | 'anyone' | undefined): Promise<Caller> {
    const { peer, where } = visit;
    this.#limit(this.#addresses, addressGroup(peer), { principal: `peer:${peer}`, where });
    try {
      visit.checkNames?.();
      if (role === 'anyone') return NOBODY;
      const caller = await this.authenticate(visit);
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

  /** Throws `server.role-missing`, noted in the log, where a known caller may not do this. */
  checkRole(caller: Caller, role: Role | 'anyone' | undefined, where: string): void {
    if (role === undefined || role === 'anyone' || mayAct(caller, role)) return;
    this.#deny(caller.principal, 'server.role-missing', where);
    throw new ServerError('server.role-missing', `expected a caller with the role ${role}`);
  }

  /** A key or a token in the header decides; else the certificate. A bad certificate is refused beside anything. */
  async authenticate(visit: Pick<Visit, 'authorization' | 'certificate' | 'kept'>): Promise<Caller> {
    const { database, clock } = this.#guardian;
    const certificate = visit.certificate();
    const header = visit.authorization;
    if (header === undefined && certificate !== undefined) {
      return await certificateCaller(certificate, database.accessKeys, clock);
    }
    if (this.#tokens !== undefined) {
      const text = bearerText(header ?? '');
      if (looksLikeToken(text)) return await this.#tokens.verify(text);
    }
    return await authenticate(shownKey(visit), knownKeys(database.accessKeys, clock), clock);
  }

  /** Reads the keys of the token issuer anew. Throws `server.issuer-unavailable`. */
  async refresh(): Promise<void> {
    await this.#tokens?.refresh();
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
    this.#guardian.denied({ principal, reason, action: 'server.request', subject: route });
  }
}

function shownKey({ authorization, kept }: Pick<Visit, 'authorization' | 'kept'>): PresentedKey | undefined {
  if (authorization === undefined) return undefined;
  if (kept === undefined) return presentKey(authorization);
  kept.key ??= presentKey(authorization);
  return kept.key;
}
