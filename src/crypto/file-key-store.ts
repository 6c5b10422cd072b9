import {
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, faultPoint, writeFileAtomic } from '../base/index.ts';
import { sha256Hex } from './digest.ts';
import { CryptoError } from './errors.ts';
import { encodeKeyFile, openKeyFile, parseKeyFile, type StoredKey } from './key-file.ts';
import {
  INITIAL_PURPOSES,
  type KeyAlgorithm,
  type KeyInfo,
  type KeyPurpose,
  type KeyState,
  type KeyStore,
  PURPOSE_ALGORITHMS,
} from './key-store.ts';
import { unwrapKey, wrapKey } from './key-wrap.ts';
import { SecretBuffer } from './secret-buffer.ts';
import {
  DEFAULT_PASSPHRASE_COST,
  deriveUnlockKeys,
  ensureUnlockFile,
  fileExists,
  isCode,
  newUnlockRecord,
  type PassphraseCost,
  type UnlockKeys,
  type UnlockRecord,
  type UnlockSecret,
} from './unlock-secret.ts';
import { expectUsable, refusedFor } from './usable-key.ts';

export interface FileKeyStoreOptions {
  /** The `keys.json`. */
  readonly path: string;
  readonly secret: UnlockSecret;
  readonly clock: Clock;
  /** For a new store that opens by passphrase. */
  readonly passphraseCost?: PassphraseCost;
}

/**
 * Makes a key store with one active key of every purpose, and the unlock file where the secret is one and there is
 * none yet. Durable when resolved. Throws `crypto.store-exists`, `crypto.unlock-exposed`, `crypto.unlock-refused`.
 */
export async function createFileKeyStore(options: FileKeyStoreOptions): Promise<FileKeyStore> {
  const { path, secret, clock } = options;
  if (await fileExists(path)) {
    throw new CryptoError('crypto.store-exists', `expected no key store at ${path}, found one`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (secret.kind === 'file') await ensureUnlockFile(secret.path);
  const unlock = newUnlockRecord(secret.kind, options.passphraseCost ?? DEFAULT_PASSPHRASE_COST);
  const unlockKeys = await deriveUnlockKeys(secret, unlock);
  const keys = INITIAL_PURPOSES.map((purpose) => newKey(purpose, clock));
  await writeKeys(path, encodeKeyFile(unlock, keys, unlockKeys));
  return new FileKeyStore({ path, clock, unlock, unlockKeys, keys });
}

/**
 * Opens a key store. Throws `crypto.store-missing`, `crypto.unlock-missing`, `crypto.unlock-exposed`,
 * `crypto.unlock-refused` (wrong secret) and `crypto.integrity` (any byte of the file changed).
 *
 * An older copy of the whole file, put back in place of the newer one, opens: a file cannot know what came after it.
 */
export async function openFileKeyStore(options: FileKeyStoreOptions): Promise<FileKeyStore> {
  const { path, secret, clock } = options;
  const bytes = await readFile(path).catch((cause: unknown) => {
    if (!isCode(cause, 'ENOENT')) throw cause;
    throw new CryptoError('crypto.store-missing', `expected a key store at ${path}, found none`, { cause });
  });
  const file = parseKeyFile(bytes.toString('utf8'));
  const unlockKeys = await deriveUnlockKeys(secret, file.unlock);
  const keys = openKeyFile(file, unlockKeys);
  return new FileKeyStore({ path, clock, unlock: file.unlock, unlockKeys, keys });
}

interface OpenedFile {
  readonly path: string;
  readonly clock: Clock;
  readonly unlock: UnlockRecord;
  readonly unlockKeys: UnlockKeys;
  readonly keys: readonly StoredKey[];
}

/** Keys in one encrypted file. Made by `createFileKeyStore` and `openFileKeyStore`. */
export class FileKeyStore implements KeyStore {
  readonly kind = 'file';
  readonly #file: OpenedFile;
  #keys: readonly StoredKey[];
  /** Imported on first use; a KeyObject's own copy is freed with it, and cannot be wiped before. */
  readonly #imported = new Map<string, KeyObject>();
  #closed = false;
  /** The end of the queue of changes: one write of the file at a time. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(file: OpenedFile) {
    this.#file = file;
    this.#keys = file.keys;
  }

  async list(): Promise<readonly KeyInfo[]> {
    return this.#open().map((key) => key.info);
  }

  async active(purpose: KeyPurpose): Promise<KeyInfo> {
    const key = this.#open().find(({ info }) => info.purpose === purpose && info.state === 'active');
    if (key === undefined) throw new CryptoError('crypto.key-missing', `no active key for ${purpose}`);
    return key.info;
  }

  async find(id: string): Promise<KeyInfo | undefined> {
    return this.#open().find((key) => key.info.id === id)?.info;
  }

  generate(purpose: KeyPurpose): Promise<KeyInfo> {
    return this.#change((keys) => {
      const made = newKey(purpose, this.#file.clock);
      const before = keys.map((key) =>
        key.info.purpose === purpose && key.info.state === 'active' ? withState(key, 'retired') : key,
      );
      return { keys: [...before, made], changed: made };
    });
  }

  retire(id: string): Promise<KeyInfo> {
    return this.#setState(id, 'retired');
  }

  revoke(id: string): Promise<KeyInfo> {
    return this.#setState(id, 'revoked');
  }

  async sign(keyId: string, message: Uint8Array): Promise<Uint8Array> {
    const stored = this.#usable(keyId, ['active']);
    if (stored.info.algorithm === 'aes-256') throw refusedFor(keyId, 'sign');
    const key = this.#import(stored);
    if (stored.info.algorithm !== 'ecdsa-p256') return sign(null, message, key);
    return sign('sha256', message, { key, dsaEncoding: 'der' });
  }

  async wrap(keyId: string, key: SecretBuffer): Promise<Uint8Array> {
    const stored = this.#usable(keyId, ['active']);
    if (stored.info.algorithm !== 'aes-256') throw refusedFor(keyId, 'wrap');
    return wrapKey(this.#import(stored), key);
  }

  async unwrap(keyId: string, wrapped: Uint8Array): Promise<SecretBuffer> {
    const stored = this.#usable(keyId, ['active', 'retired']);
    if (stored.info.algorithm !== 'aes-256') throw refusedFor(keyId, 'unwrap');
    return unwrapKey(this.#import(stored), wrapped);
  }

  async close(): Promise<void> {
    await this.#changes.catch(() => {});
    this.#closed = true;
    this.#imported.clear();
    for (const { secret } of this.#keys) secret.wipe();
    this.#file.unlockKeys.encryption.wipe();
  }

  #open(): readonly StoredKey[] {
    if (this.#closed)
      throw new CryptoError('crypto.store-closed', 'expected an open key store, got a closed one');
    return this.#keys;
  }

  #usable(id: string, states: readonly KeyState[]): StoredKey {
    const key = this.#open().find(({ info }) => info.id === id);
    expectUsable(key?.info, id, states);
    return key as StoredKey;
  }

  #import(stored: StoredKey): KeyObject {
    const { info, secret } = stored;
    const known = this.#imported.get(info.id);
    if (known !== undefined) return known;
    const key = secret.use((bytes) =>
      info.algorithm === 'aes-256'
        ? createSecretKey(bytes)
        : createPrivateKey({
            key: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
            format: 'der',
            type: 'pkcs8',
          }),
    );
    this.#imported.set(info.id, key);
    return key;
  }

  #setState(id: string, state: 'retired' | 'revoked'): Promise<KeyInfo> {
    return this.#change((keys) => {
      const from: KeyState[] = state === 'retired' ? ['active'] : ['active', 'retired'];
      const changed = withState(this.#usable(id, from), state);
      return { keys: keys.map((key) => (key.info.id === id ? changed : key)), changed };
    });
  }

  /** Writes first and believes afterwards: a failed write leaves memory as the file is. */
  #change(
    make: (keys: readonly StoredKey[]) => {
      readonly keys: readonly StoredKey[];
      readonly changed: StoredKey;
    },
  ): Promise<KeyInfo> {
    const change = this.#changes.then(async () => {
      const { keys, changed } = make(this.#open());
      const { path, unlock, unlockKeys } = this.#file;
      await writeKeys(path, encodeKeyFile(unlock, keys, unlockKeys));
      this.#keys = keys;
      return changed.info;
    });
    this.#changes = change.catch(() => {});
    return change;
  }
}

async function writeKeys(path: string, text: string): Promise<void> {
  faultPoint('crypto.keys.before-write');
  await writeFileAtomic(path, text, 0o600);
  faultPoint('crypto.keys.after-write');
}

function newKey(purpose: KeyPurpose, clock: Clock): StoredKey {
  const algorithm = PURPOSE_ALGORITHMS[purpose];
  const base = {
    purpose,
    algorithm,
    createdAt: new Date(clock.now()).toISOString(),
    state: 'active',
  } as const;
  if (algorithm === 'aes-256') {
    const id = `${purpose}-${randomBytes(8).toString('hex')}`;
    return { info: { id, ...base }, secret: SecretBuffer.random(32) };
  }
  const { publicKey, privateKey } = newKeyPair(algorithm);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const publicKeyPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const id = `${purpose}-${sha256Hex(spki).slice(0, 16)}`;
  const secret = SecretBuffer.from(privateKey.export({ format: 'der', type: 'pkcs8' }));
  return { info: { id, ...base, publicKeyPem }, secret };
}

function newKeyPair(algorithm: Exclude<KeyAlgorithm, 'aes-256'>): {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
} {
  switch (algorithm) {
    case 'ecdsa-p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ed25519':
      return generateKeyPairSync('ed25519');
    case 'ml-dsa-65':
      return generateKeyPairSync('ml-dsa-65');
    default:
      return algorithm satisfies never;
  }
}

function withState(key: StoredKey, state: KeyState): StoredKey {
  return { info: { ...key.info, state }, secret: key.secret };
}
