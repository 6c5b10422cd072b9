import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../base/index.ts';
import { sha256Bytes, sha256Hex } from '../crypto/index.ts';
import type { AccessKeyRow, Database } from '../storage/index.ts';
import { ServerError } from './errors.ts';
import { type Caller, isRole } from './roles.ts';

/** A new API key. `text` is shown once and kept nowhere. */
export interface NewAccessKey {
  readonly id: string;
  /** `agk_<id>_<secret>`: 8 and 32 random bytes. */
  readonly text: string;
  /** Lowercase hexadecimal SHA-256 of the text. 256 random bits need no slow hash. */
  readonly sha256: string;
}

const FORM = /^agk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;
const NOBODY = Buffer.alloc(32);

export function createAccessKey(): NewAccessKey {
  const id = randomBytes(8).toString('hex');
  const text = `agk_${id}_${randomBytes(32).toString('base64url')}`;
  return { id, text, sha256: sha256Hex(text) };
}

/** The token of an Authorization header; empty where it holds another scheme or none. */
export function bearerText(header: string): string {
  return /^Bearer +(\S+)$/i.exec(header)?.[1] ?? '';
}

/** A key as a header shows it, without its secret. Who keeps the header of a connection may keep this beside it. */
export interface PresentedKey {
  /** Undefined where the text has not the form of a key. */
  readonly id: string | undefined;
  /** SHA-256 of the text. */
  readonly digest: Uint8Array;
}

export function presentKey(header: string): PresentedKey {
  const text = bearerText(header);
  return { id: FORM.exec(text)?.[1], digest: sha256Bytes(text) };
}

/**
 * The caller that an Authorization header, or the key that it shows, names. Throws `server.key-missing`, `server.key-wrong`, and, only to
 * who has the whole key, `server.key-revoked` and `server.key-expired`.
 */
export async function authenticate(
  shown: string | PresentedKey | undefined,
  keys: Pick<Database['accessKeys'], 'findAccessKey'>,
  clock: Clock,
): Promise<Caller> {
  if (shown === undefined)
    throw new ServerError(
      'server.key-missing',
      'expected an API key, a token or a client certificate, got none',
    );
  const { id, digest } = typeof shown === 'string' ? presentKey(shown) : shown;
  const row = id === undefined ? undefined : await keys.findAccessKey(id);
  // An unknown id costs the same comparison as a known one.
  const expected = row === undefined ? NOBODY : Buffer.from(row.sha256, 'hex');
  const isRight = expected.length === 32 && timingSafeEqual(digest, expected);
  if (row === undefined || !isRight) {
    throw new ServerError('server.key-wrong', 'the API key is not one that was given out here');
  }
  if (row.revokedAt !== undefined) {
    throw new ServerError('server.key-revoked', `the API key ${row.id} was revoked`);
  }
  if (row.expiresAt !== undefined && row.expiresAt <= clock.now()) {
    throw new ServerError('server.key-expired', `the API key ${row.id} has expired`);
  }
  return { principal: principalOf(row), method: 'api-key', roles: row.roles.filter(isRole) };
}

/** Two keys may have one label, so the id stands with it. */
function principalOf({ id, principal }: AccessKeyRow): string {
  return `${principal}#${id}`;
}
