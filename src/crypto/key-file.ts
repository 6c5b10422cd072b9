import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { canonicalJson, parseCanonicalJson } from './canonical-json.ts';
import { sha256Hex } from './digest.ts';
import { CryptoError } from './errors.ts';
import {
  INITIAL_PURPOSES,
  KEY_PURPOSES,
  type KeyInfo,
  type KeyState,
  PURPOSE_ALGORITHMS,
} from './key-store.ts';
import { SecretBuffer } from './secret-buffer.ts';
import { isUnlockRecord, type UnlockKeys, type UnlockRecord } from './unlock-secret.ts';

/** A key with its private part: PKCS#8 DER for signing keys, 32 raw bytes for wrapping keys. */
export interface StoredKey {
  readonly info: KeyInfo;
  readonly secret: SecretBuffer;
}

/**
 * `keys.json`, versions 1 to 3: canonical JSON and a line feed. What is public stands in clear, so that a verifier can
 * read public keys without the unlock secret. `sealed` holds the private parts (each a big-endian uint32 length and
 * its bytes, in the order of `keys`), encrypted with AES-256-GCM; `v`, `format`, `unlock`, `keys` are its associated
 * data. `check` tells a wrong secret from a changed file. `digest` covers all else and finds plain damage before any
 * work is spent on the secret.
 */
export interface KeyFile {
  /** The lowest version that has the purposes of all keys. */
  readonly v: 1 | 2 | 3;
  readonly format: 'ai-guardian-keys';
  readonly unlock: UnlockRecord;
  readonly keys: readonly KeyInfo[];
  readonly check: string;
  readonly nonce: string;
  readonly sealed: string;
  readonly digest: string;
}

const TAG_BYTES = 16;
const STATES: readonly KeyState[] = ['active', 'retired', 'revoked'];

export function encodeKeyFile(unlock: UnlockRecord, keys: readonly StoredKey[], with_: UnlockKeys): string {
  const v = versionOf(keys.map(({ info }) => info));
  const head = { v, format: 'ai-guardian-keys', unlock, keys: keys.map((key) => key.info) } as const;
  const nonce = randomBytes(12);
  const cipher = with_.encryption.use((key) =>
    createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }),
  );
  cipher.setAAD(Buffer.from(canonicalJson(head)));
  const parts: Buffer[] = [];
  for (const { secret } of keys) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(secret.length);
    parts.push(
      cipher.update(length),
      secret.use((bytes) => cipher.update(bytes)),
    );
  }
  const sealed = Buffer.concat([...parts, cipher.final(), cipher.getAuthTag()]);
  const body = {
    ...head,
    check: with_.check,
    nonce: nonce.toString('base64'),
    sealed: sealed.toString('base64'),
  };
  return `${canonicalJson({ ...body, digest: sha256Hex(canonicalJson(body)) })}\n`;
}

/** Version 1 had the first purposes, 2 second signatures beside them. */
function versionOf(keys: readonly KeyInfo[]): KeyFile['v'] {
  const later = keys.filter(({ purpose }) => !INITIAL_PURPOSES.includes(purpose));
  if (later.length === 0) return 1;
  return later.every(({ purpose }) => purpose === 'post-quantum-signing') ? 2 : 3;
}

/** Reads the file without opening it. Throws `crypto.integrity` unless every byte is as it was written. */
export function parseKeyFile(text: string): KeyFile {
  if (!text.endsWith('\n')) throw changed('it does not end with a line feed');
  let value: unknown;
  try {
    value = parseCanonicalJson(text.slice(0, -1));
  } catch (cause) {
    throw changed('it is not canonical json', cause);
  }
  if (!isKeyFile(value)) throw changed('it is not of version 1, 2 or 3');
  const { digest, ...body } = value;
  if (sha256Hex(canonicalJson(body)) !== digest) throw changed('its digest does not fit');
  return value;
}

/** Opens the private parts. Throws `crypto.unlock-refused` on a wrong secret, `crypto.integrity` on a changed file. */
export function openKeyFile(file: KeyFile, with_: UnlockKeys): StoredKey[] {
  const expected = Buffer.from(with_.check, 'base64');
  const found = Buffer.from(file.check, 'base64');
  if (found.length !== expected.length || !timingSafeEqual(found, expected)) {
    throw new CryptoError('crypto.unlock-refused', 'the unlock secret is not the one of this key store');
  }
  const { v, format, unlock, keys } = file;
  const plain = decrypt(file, canonicalJson({ v, format, unlock, keys }), with_.encryption);
  const opened: StoredKey[] = [];
  let at = 0;
  for (const info of keys) {
    const length = plain.length - at >= 4 ? plain.readUInt32BE(at) : -1;
    if (length < 0 || at + 4 + length > plain.length) throw changed('its private parts are cut off');
    opened.push({ info, secret: SecretBuffer.from(plain.subarray(at + 4, at + 4 + length)) });
    at += 4 + length;
  }
  if (at !== plain.length) throw changed('it has private parts of no key');
  return opened;
}

function decrypt(file: KeyFile, aad: string, encryption: SecretBuffer): Buffer {
  const sealed = Buffer.from(file.sealed, 'base64');
  const nonce = Buffer.from(file.nonce, 'base64');
  if (sealed.length < TAG_BYTES || nonce.length !== 12) throw changed('its sealed part is cut off');
  try {
    const decipher = encryption.use((key) =>
      createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }),
    );
    decipher.setAAD(Buffer.from(aad));
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    decipher.final();
    return plain;
  } catch (cause) {
    throw changed('its sealed part does not open', cause);
  }
}

function isKeyFile(value: unknown): value is KeyFile {
  if (typeof value !== 'object' || value === null) return false;
  const file = value as Record<string, unknown>;
  return (
    (file.v === 1 || file.v === 2 || file.v === 3) &&
    file.format === 'ai-guardian-keys' &&
    isUnlockRecord(file.unlock) &&
    Array.isArray(file.keys) &&
    file.keys.every(isKeyInfo) &&
    [file.check, file.nonce, file.sealed].every(isBase64) &&
    typeof file.digest === 'string'
  );
}

export function isKeyInfo(value: unknown): value is KeyInfo {
  if (typeof value !== 'object' || value === null) return false;
  const { id, purpose, algorithm, createdAt, state, publicKeyPem } = value as Record<string, unknown>;
  const known = KEY_PURPOSES.find((each) => each === purpose);
  return (
    typeof id === 'string' &&
    known !== undefined &&
    PURPOSE_ALGORITHMS[known] === algorithm &&
    typeof createdAt === 'string' &&
    STATES.some((each) => each === state) &&
    (known === 'wrapping' ? publicKeyPem === undefined : typeof publicKeyPem === 'string')
  );
}

/** Strict: what does not encode back to itself could be changed unseen. */
function isBase64(value: unknown): boolean {
  return typeof value === 'string' && Buffer.from(value, 'base64').toString('base64') === value;
}

function changed(what: string, cause?: unknown): CryptoError {
  return new CryptoError('crypto.integrity', `key file was changed or damaged: ${what}`, { cause });
}
