import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { Clock } from '../base/index.ts';
import type { ServerConfig } from '../configuration.ts';
import { ServerError } from './errors.ts';
import { IssuerKeys } from './issuer-keys.ts';
import { SERVER_LIMITS } from './limits.ts';
import type { Caller, Role } from './roles.ts';

/** OpenID Connect Core, section 2: at most 255 ASCII characters. */
const SUBJECT = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/;

/** Whether a bearer token has the three parts of a signed JWT. */
export function looksLikeToken(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

/** Checks OIDC tokens of one issuer, and says who they are and what they may do. */
export class TokenVerifier {
  readonly #config: ServerConfig['oidc'];
  readonly #clock: Clock;
  readonly #keys: IssuerKeys;
  readonly #required: { readonly issuer: string; readonly audience: string };

  private constructor(
    config: ServerConfig['oidc'],
    clock: Clock,
    required: { readonly issuer: string; readonly audience: string },
    source: { readonly file: string } | { readonly uri: string },
  ) {
    this.#config = config;
    this.#clock = clock;
    this.#required = required;
    this.#keys = new IssuerKeys({ source, cacheMs: config.keysCacheMs, clock });
  }

  /** Undefined where no issuer is configured. */
  static of(config: ServerConfig['oidc'], clock: Clock): TokenVerifier | undefined {
    const { issuer, audience, jwksFile, jwksUri } = config;
    if (issuer === null || audience === null) return undefined;
    const source = jwksFile !== null ? { file: jwksFile } : { uri: jwksUri ?? '' };
    return new TokenVerifier(config, clock, { issuer, audience }, source);
  }

  /** Reads the issuer's keys anew. Throws `server.issuer-unavailable`. */
  refresh(): Promise<void> {
    return this.#keys.refresh();
  }

  /** Throws `server.token-wrong`, `server.token-expired` and `server.issuer-unavailable`. */
  async verify(token: string): Promise<Caller> {
    if (token.length > SERVER_LIMITS.tokenLength)
      throw wrong(`it is longer than ${SERVER_LIMITS.tokenLength}`);
    const payload = await this.#check(token);
    const { exp, sub } = payload;
    if (typeof sub !== 'string' || !SUBJECT.test(sub))
      throw wrong('its "sub" is not ASCII text of moderate length');
    if ((exp as number) * 1000 > this.#clock.now() + this.#config.maxLifetimeMs) {
      throw wrong('it is good for longer than tokens may be here');
    }
    return { principal: `oidc:${sub}`, method: 'oidc', roles: this.#rolesOf(payload) };
  }

  async #check(token: string): Promise<JWTPayload> {
    try {
      const { payload } = await jwtVerify(token, this.#keys.find, {
        ...this.#required,
        algorithms: [...this.#config.algorithms],
        requiredClaims: ['exp', 'sub'],
        clockTolerance: this.#config.clockToleranceMs / 1000,
        currentDate: new Date(this.#clock.now()),
      });
      return payload;
    } catch (error) {
      if (error instanceof ServerError) throw error;
      if (error instanceof errors.JWTExpired) {
        throw new ServerError('server.token-expired', 'the token has expired', { cause: error });
      }
      // Claims are read after the signature: only who has a signed token is told which one is wrong.
      throw wrong(
        error instanceof errors.JWTClaimValidationFailed ? error.message : 'it is not one for us',
        error,
      );
    }
  }

  #rolesOf(payload: JWTPayload): readonly Role[] {
    const { rolesClaim, roleMap } = this.#config;
    const claim = claimAt(payload, rolesClaim);
    const values = new Set((Array.isArray(claim) ? claim : [claim]).slice(0, SERVER_LIMITS.tokenRoles));
    return [...new Set(roleMap.filter(({ value }) => values.has(value)).flatMap(({ roles }) => roles))];
  }
}

/** A claim by its name, or by a path whose parts dots divide. */
function claimAt(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  return name
    .split('.')
    .reduce<unknown>(
      (node, key) =>
        typeof node === 'object' && node !== null && Object.hasOwn(node, key)
          ? (node as Record<string, unknown>)[key]
          : undefined,
      payload,
    );
}

function wrong(reason: string, cause?: unknown): ServerError {
  return new ServerError(
    'server.token-wrong',
    `the token is not accepted: ${reason}`,
    cause === undefined ? {} : { cause },
  );
}
