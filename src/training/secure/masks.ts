import {
  createCipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';

/** Bytes of mask made at a time: AES-CTR runs fastest in pieces that stay in the cache. */
const PIECE = 1 << 17;
const ZEROS = new Uint8Array(PIECE);
const ZERO_IV = new Uint8Array(16);

/** A key of X25519 (RFC 7748) made for one round. */
export interface RoundKey {
  /** 32 bytes, base64url. */
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

export function makeRoundKey(): RoundKey {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  return { publicKey: rawPublic(publicKey), privateKey };
}

/** The 32 bytes of the private key, to be shared among the others. The caller wipes them. */
export function privateBytes(key: RoundKey): Uint8Array {
  return new Uint8Array(Buffer.from(key.privateKey.export({ format: 'jwk' }).d as string, 'base64url'));
}

/** The key of these private bytes, or undefined where they do not belong to the public key. */
export function restoreRoundKey(bytes: Uint8Array, publicKey: string): RoundKey | undefined {
  try {
    const d = Buffer.from(bytes).toString('base64url');
    const privateKey = createPrivateKey({
      format: 'jwk',
      key: { kty: 'OKP', crv: 'X25519', d, x: publicKey },
    });
    return rawPublic(createPublicKey(privateKey)) === publicKey ? { publicKey, privateKey } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * 32 bytes that both ends of a pair of keys can compute, bound to what `context` names (HKDF-SHA256, RFC 5869).
 * Undefined where the other's public key is none, or of small order.
 */
export function pairSecret(own: RoundKey, otherPublic: string, context: string): Uint8Array | undefined {
  const shared = agreeSecret(own, otherPublic);
  if (shared === undefined) return undefined;
  const secret = deriveSecret(shared, context);
  shared.fill(0);
  return secret;
}

/** What X25519 gives both ends of a pair, to derive secrets from; the caller wipes it. Undefined as in `pairSecret`. */
export function agreeSecret(own: RoundKey, otherPublic: string): Uint8Array | undefined {
  try {
    const publicKey = createPublicKey({
      format: 'jwk',
      key: { kty: 'OKP', crv: 'X25519', x: otherPublic },
    });
    return diffieHellman({ privateKey: own.privateKey, publicKey });
  } catch {
    return undefined;
  }
}

export function deriveSecret(key: Uint8Array, context: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, new Uint8Array(0), context, 32));
}

/** A seed of 32 bytes from `secret`, which becomes the secret that comes after it: neither gives the one that was. */
export function nextSecret(secret: Uint8Array, context: string): Uint8Array {
  const both = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), context, 2 * secret.length));
  secret.set(both.subarray(secret.length));
  both.fill(0, secret.length);
  return both.subarray(0, secret.length);
}

/**
 * Adds (sign 1) or subtracts (sign -1) the mask of a seed, modulo 2^32. The mask is the AES-256-CTR key stream of the
 * seed, counter from 0, read as little-endian int32.
 */
export function applyMask(into: Int32Array, seed: Uint8Array, sign: 1 | -1): void {
  const cipher = createCipheriv('aes-256-ctr', seed, ZERO_IV);
  for (let from = 0; from < into.length; from += PIECE / 4) {
    const to = Math.min(into.length, from + PIECE / 4);
    const bytes = cipher.update(to - from === PIECE / 4 ? ZEROS : ZEROS.subarray(0, (to - from) * 4));
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
    const mask = new Int32Array(aligned.buffer, aligned.byteOffset, to - from);
    const part = into.subarray(from, to);
    if (sign === 1) for (let i = 0; i < part.length; i++) part[i] = (part[i] as number) + (mask[i] as number);
    else for (let i = 0; i < part.length; i++) part[i] = (part[i] as number) - (mask[i] as number);
    release(mask);
  }
}

/** Wipes a piece of mask and gives its memory back at once: left to the collector, it would cost as much as the mask. */
function release(mask: Int32Array): void {
  mask.fill(0);
  const { buffer } = mask;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === mask.byteLength) buffer.transfer(0);
}

function rawPublic(key: KeyObject): string {
  return key.export({ format: 'jwk' }).x as string;
}
