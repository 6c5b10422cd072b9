import { readFile, stat } from 'node:fs/promises';
import { createLocalJWKSet, errors, type JWK, type JWTVerifyGetKey } from 'jose';
import type { Clock, Milliseconds } from '../base/index.ts';
import { ServerError } from './errors.ts';
import { SERVER_LIMITS } from './limits.ts';

export interface IssuerKeysOptions {
  /** A file, or an address that is https or loopback. */
  readonly source: { readonly file: string } | { readonly uri: string };
  readonly cacheMs: Milliseconds;
  readonly clock: Clock;
}

/**
 * Public keys of the issuer of tokens. They are read again when they are old, and when a token names a key that is
 * not among them (rotation), at most once in `issuerCooldownMs`: strangers can name as many keys as they like. Where
 * the issuer does not answer, keys that are not too old go on being used.
 */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  #keys: JWTVerifyGetKey | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
  }

  /** The key that a token's header names. Throws `server.issuer-unavailable` and jose's `JWKSNoMatchingKey`. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const keys = await this.#current();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayTry()) throw error;
      await this.refresh().catch(() => {});
      return await (await this.#current())(header, token);
    }
  };

  /** Reads the keys now. Throws `server.issuer-unavailable`; the keys that were there stay. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #current(): Promise<JWTVerifyGetKey> {
    const age = this.#options.clock.monotonic() - this.#readAt;
    if (this.#keys !== undefined && age < this.#options.cacheMs) return this.#keys;
    let failure: unknown;
    if (this.#reading !== undefined || this.#mayTry()) {
      await this.refresh().catch((error: unknown) => {
        failure = error;
      });
    }
    const isUsable =
      this.#options.clock.monotonic() - this.#readAt < this.#options.cacheMs + SERVER_LIMITS.issuerStaleMs;
    if (this.#keys !== undefined && isUsable) return this.#keys;
    throw new ServerError('server.issuer-unavailable', 'the keys of the token issuer cannot be read', {
      cause: failure,
    });
  }

  #mayTry(): boolean {
    return this.#options.clock.monotonic() - this.#triedAt >= SERVER_LIMITS.issuerCooldownMs;
  }

  async #read(): Promise<void> {
    const { source, clock } = this.#options;
    this.#triedAt = clock.monotonic();
    try {
      const text = 'file' in source ? await readKeyFile(source.file) : await fetchKeys(source.uri);
      this.#keys = createLocalJWKSet({ keys: publicKeys(JSON.parse(text)) });
      this.#readAt = clock.monotonic();
    } catch (cause) {
      throw new ServerError('server.issuer-unavailable', 'the keys of the token issuer cannot be read', {
        cause,
      });
    }
  }
}

/** Keys for signatures: never shared secrets, never private parts, and not more than a bounded number. */
function publicKeys(value: unknown): JWK[] {
  const keys: unknown =
    typeof value === 'object' && value !== null && 'keys' in value ? value.keys : undefined;
  if (!Array.isArray(keys) || keys.length > SERVER_LIMITS.issuerKeys) {
    throw new ServerError('server.issuer-unavailable', `expected at most ${SERVER_LIMITS.issuerKeys} keys`);
  }
  return (keys as JWK[]).filter(
    (key) =>
      typeof key === 'object' &&
      key !== null &&
      (key.kty === 'RSA' || key.kty === 'EC' || key.kty === 'OKP') &&
      key.d === undefined,
  );
}

async function readKeyFile(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > SERVER_LIMITS.issuerBytes) throw tooLong();
  return await readFile(path, 'utf8');
}

async function fetchKeys(uri: string): Promise<string> {
  const response = await fetch(uri, {
    // A redirect could lead from https to anywhere.
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(SERVER_LIMITS.issuerTimeoutMs),
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new ServerError('server.issuer-unavailable', `the issuer answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > SERVER_LIMITS.issuerBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function tooLong(): ServerError {
  return new ServerError(
    'server.issuer-unavailable',
    `the keys are longer than ${SERVER_LIMITS.issuerBytes} bytes`,
  );
}
