import { canonicalJson, parseCanonicalJson } from './canonical-json.ts';
import { CryptoError } from './errors.ts';
import { isKeyInfo } from './key-file.ts';
import type { KeyInfo } from './key-store.ts';

/** A key of the token as the store's own record tells it. */
export interface TokenKey {
  readonly info: KeyInfo;
  /** CKA_ID in hexadecimal. */
  readonly objectId: string;
  /** Seed of a key that the token cannot hold, wrapped by the token's sealing key; base64. */
  readonly sealed?: string;
}

/**
 * The record of a store: which objects are its keys, and in which state. It lies in the token itself, as a private data
 * object, so that a restored state folder cannot bring a revoked key back; and it carries an HMAC by a key of the
 * token, since a token that is a folder of files (SoftHSM) can be edited.
 */
export interface TokenState {
  readonly v: 1;
  readonly format: 'ai-guardian-token-keys';
  /** Grows by one with each change; the highest counts. */
  readonly sequence: number;
  readonly keys: readonly TokenKey[];
}

export function encodeState(state: TokenState): Buffer {
  return Buffer.from(canonicalJson(state));
}

/** The bytes of the data object: 32 bytes of HMAC-SHA-256, then the canonical JSON it is over. */
export function joinState(text: Buffer, mac: Buffer): Buffer {
  return Buffer.concat([mac, text]);
}

export function splitState(bytes: Buffer): { readonly mac: Buffer; readonly text: Buffer } {
  return { mac: bytes.subarray(0, 32), text: bytes.subarray(32) };
}

/** Reads what was authenticated. Throws `crypto.integrity`. */
export function decodeState(text: Buffer): TokenState {
  let value: unknown;
  try {
    value = parseCanonicalJson(text.toString('utf8'));
  } catch (cause) {
    throw changed(cause);
  }
  if (!isState(value)) throw changed();
  return value;
}

function isState(value: unknown): value is TokenState {
  if (typeof value !== 'object' || value === null) return false;
  const { v, format, sequence, keys } = value as Record<string, unknown>;
  return (
    v === 1 &&
    format === 'ai-guardian-token-keys' &&
    Number.isSafeInteger(sequence) &&
    Array.isArray(keys) &&
    keys.every(isTokenKey)
  );
}

function isTokenKey(value: unknown): value is TokenKey {
  if (typeof value !== 'object' || value === null) return false;
  const { info, objectId, sealed } = value as Record<string, unknown>;
  return (
    isKeyInfo(info) &&
    typeof objectId === 'string' &&
    /^[0-9a-f]{32}$/.test(objectId) &&
    (info.algorithm === 'ml-dsa-65' ? typeof sealed === 'string' : sealed === undefined)
  );
}

function changed(cause?: unknown): CryptoError {
  return new CryptoError('crypto.integrity', 'the record of keys in the token is not what was written', {
    cause,
  });
}
