import { createSecretKey } from 'node:crypto';
import { CryptoError } from './errors.ts';
import type { KeyStore } from './key-store.ts';
import { unwrapKey, wrapKey } from './key-wrap.ts';
import type { SecretBuffer } from './secret-buffer.ts';

/** One wrapping of a data key. */
export interface KeyWrap {
  /** The wrapping key: of the store, or the offline recovery key. */
  readonly keyId: string;
  readonly recipient: 'store' | 'recovery';
  /** Base64 of the RFC 3394 result. */
  readonly wrapped: string;
}

/** Every wrapping of one data key. Destroying all of them erases what the data key opened. */
export interface WrapSet {
  readonly v: 1;
  readonly dataKeyId: string;
  readonly wraps: readonly KeyWrap[];
}

/** Wraps a data key with the store's active wrapping key. */
export async function wrapForStore(
  store: KeyStore,
  dataKeyId: string,
  dataKey: SecretBuffer,
): Promise<WrapSet> {
  const { id } = await store.active('wrapping');
  const wrapped = Buffer.from(await store.wrap(id, dataKey)).toString('base64');
  return { v: 1, dataKeyId, wraps: [{ keyId: id, recipient: 'store', wrapped }] };
}

/** Adds a wrapping by an offline AES-256 recovery key, which no running system needs to hold. */
export function addRecoveryWrap(
  set: WrapSet,
  dataKey: SecretBuffer,
  recovery: { readonly keyId: string; readonly key: SecretBuffer },
): WrapSet {
  const wrapped = Buffer.from(wrapKey(recovery.key.use(createSecretKey), dataKey)).toString('base64');
  return { ...set, wraps: [...set.wraps, { keyId: recovery.keyId, recipient: 'recovery', wrapped }] };
}

/** Opens the data key by the store's wrap. Throws `crypto.key-missing` when the set has none for a key it holds. */
export async function unwrapFromStore(store: KeyStore, set: WrapSet): Promise<SecretBuffer> {
  for (const wrap of set.wraps) {
    if (wrap.recipient === 'store' && (await store.find(wrap.keyId)) !== undefined) {
      return store.unwrap(wrap.keyId, Buffer.from(wrap.wrapped, 'base64'));
    }
  }
  throw new CryptoError('crypto.key-missing', `no key of this store wraps data key ${set.dataKeyId}`);
}

/** Opens the data key by the offline recovery key. */
export function unwrapFromRecovery(
  set: WrapSet,
  recovery: { readonly keyId: string; readonly key: SecretBuffer },
): SecretBuffer {
  const wrap = set.wraps.find((w) => w.recipient === 'recovery' && w.keyId === recovery.keyId);
  if (wrap === undefined) {
    throw new CryptoError('crypto.key-missing', `the recovery key does not wrap data key ${set.dataKeyId}`);
  }
  return unwrapKey(recovery.key.use(createSecretKey), Buffer.from(wrap.wrapped, 'base64'));
}

/** Reads a stored set. Throws `crypto.wrap-invalid` on anything but the whole shape of version 1. */
export function parseWrapSet(text: string): WrapSet {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CryptoError('crypto.wrap-invalid', 'expected a set of key wraps, got text that is not json', {
      cause,
    });
  }
  if (!isWrapSet(value)) {
    throw new CryptoError(
      'crypto.wrap-invalid',
      'expected a set of key wraps of version 1, got another shape',
    );
  }
  return value;
}

function isWrapSet(value: unknown): value is WrapSet {
  if (typeof value !== 'object' || value === null) return false;
  const { v, dataKeyId, wraps } = value as Record<string, unknown>;
  return v === 1 && typeof dataKeyId === 'string' && Array.isArray(wraps) && wraps.every(isKeyWrap);
}

function isKeyWrap(value: unknown): value is KeyWrap {
  if (typeof value !== 'object' || value === null) return false;
  const { keyId, recipient, wrapped } = value as Record<string, unknown>;
  return (
    typeof keyId === 'string' &&
    (recipient === 'store' || recipient === 'recovery') &&
    typeof wrapped === 'string' &&
    Buffer.from(wrapped, 'base64').toString('base64') === wrapped
  );
}
