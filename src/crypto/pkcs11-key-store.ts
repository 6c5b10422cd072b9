import { sign } from 'node:crypto';
import { sha256Bytes } from './digest.ts';
import { CryptoError } from './errors.ts';
import { mlDsaKey } from './key-encodings.ts';
import {
  INITIAL_PURPOSES,
  type KeyInfo,
  type KeyPurpose,
  type KeyState,
  type KeyStore,
} from './key-store.ts';
import { makeTokenKey } from './pkcs11-new-key.ts';
import {
  guarded,
  type OpenedToken,
  openToken,
  type Pkcs11KeyStoreOptions,
  readRecord,
  readRecordOn,
  writeRecord,
} from './pkcs11-record.ts';
import type { TokenKey, TokenState } from './pkcs11-state.ts';
import { type Handle, ObjectNotFound, type Session } from './pkcs11-token.ts';
import type { SecretBuffer } from './secret-buffer.ts';
import { verifySignature } from './signatures.ts';
import { expectUsable, refusedFor } from './usable-key.ts';

/** Return values by which tokens say that wrapped bytes are not what they wrapped; SoftHSM has the first alone. */
const TAMPERED: ReadonlySet<string> = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
]);

/**
 * Makes a store in a token that is initialised: one key of every purpose, none extractable. Durable when resolved.
 * Throws `crypto.store-exists` and what opening throws, but `crypto.store-missing`.
 */
export async function createPkcs11KeyStore(options: Pkcs11KeyStoreOptions): Promise<Pkcs11KeyStore> {
  const opened = await openToken(options, false);
  const { token, objects, labels } = opened;
  try {
    await guarded('make a key store', () =>
      token.run(async (session) => {
        if (objects.dataObjects(session, labels.record).length > 0) {
          throw new CryptoError(
            'crypto.store-exists',
            `the token holds a key store ${labels.record} already`,
          );
        }
        const made: Handle[] = [];
        try {
          made.push(...(await objects.makeSecret(session, 'mac', labels.mac)).handles);
          made.push(...(await objects.makeSecret(session, 'wrap', labels.seal)).handles);
          const keys: TokenKey[] = [];
          for (const purpose of INITIAL_PURPOSES) {
            const { key, handles } = await makeTokenKey(opened, session, purpose);
            keys.push(key);
            made.push(...handles);
          }
          await writeRecord(opened, session, { v: 1, format: 'ai-guardian-token-keys', sequence: 1, keys });
        } catch (error) {
          const records = objects.dataObjects(session, labels.record).map(({ object }) => object);
          objects.destroy(session, [...records, ...made]);
          throw error;
        }
      }),
    );
  } finally {
    await token.close();
  }
  return openPkcs11KeyStore(options);
}

/**
 * Opens a store in a token. Throws `crypto.uri-invalid`, `crypto.pkcs11-missing`, `crypto.module-missing`,
 * `crypto.hsm-away`, `crypto.pin-*`, `crypto.store-missing` (a token without this store), `crypto.integrity`.
 */
export async function openPkcs11KeyStore(options: Pkcs11KeyStoreOptions): Promise<Pkcs11KeyStore> {
  const opened = await openToken(options, true);
  try {
    return new Pkcs11KeyStore(opened, await guarded('read the key store', () => readRecord(opened)));
  } catch (error) {
    await opened.token.close();
    // The token is there; it is this store that it does not hold.
    if (error instanceof CryptoError && error.cause instanceof ObjectNotFound) {
      throw new CryptoError('crypto.store-missing', `the token holds no key store ${opened.labels.record}`, {
        cause: error,
      });
    }
    throw error;
  }
}

/**
 * Keys in a PKCS#11 token. Private keys are made in it and never leave it. ML-DSA, which tokens do not have yet, is the
 * exception: its seed is kept wrapped by a key of the token and is in memory while it signs.
 *
 * Making keys, signing and wrapping run on libuv's thread pool. What pkcs11js has no such form for stays on the event
 * loop: searching and logging in, about a millisecond, and at a change of keys the writing of the record, as long as the
 * token's disk takes.
 */
export class Pkcs11KeyStore implements KeyStore {
  readonly kind = 'pkcs11';
  readonly #opened: OpenedToken;
  #state: TokenState;
  /** After a change that failed half way it is unknown which record the token holds. */
  #isStale = false;
  #closed = false;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(opened: OpenedToken, state: TokenState) {
    this.#opened = opened;
    this.#state = state;
  }

  async list(): Promise<readonly KeyInfo[]> {
    return (await this.#keys()).map(({ info }) => info);
  }

  async active(purpose: KeyPurpose): Promise<KeyInfo> {
    const key = (await this.#keys()).find(({ info }) => info.purpose === purpose && info.state === 'active');
    if (key === undefined) throw new CryptoError('crypto.key-missing', `no active key for ${purpose}`);
    return key.info;
  }

  async find(id: string): Promise<KeyInfo | undefined> {
    return (await this.#keys()).find(({ info }) => info.id === id)?.info;
  }

  generate(purpose: KeyPurpose): Promise<KeyInfo> {
    return this.#change(`make a key for ${purpose}`, async (keys, session) => {
      const { key, handles } = await makeTokenKey(this.#opened, session, purpose);
      const before = keys.map((each) =>
        each.info.purpose === purpose && each.info.state === 'active' ? withState(each, 'retired') : each,
      );
      return { keys: [...before, key], changed: key, made: handles };
    });
  }

  retire(id: string): Promise<KeyInfo> {
    return this.#setState(id, 'retired');
  }

  revoke(id: string): Promise<KeyInfo> {
    return this.#setState(id, 'revoked');
  }

  async sign(keyId: string, message: Uint8Array): Promise<Uint8Array> {
    const key = await this.#usable(keyId, ['active']);
    const { algorithm, publicKeyPem = '' } = key.info;
    if (algorithm === 'aes-256') throw refusedFor(keyId, 'sign');
    if (algorithm === 'ml-dsa-65') return this.#signSealed(key, message);
    const { token, objects } = this.#opened;
    const signature = await guarded(`sign with ${keyId}`, () =>
      token.run((session) =>
        objects.sign(
          session,
          algorithm,
          this.#object(session, key),
          algorithm === 'ed25519' ? message : sha256Bytes(message),
        ),
      ),
    );
    if (!verifySignature(publicKeyPem, algorithm, message, signature)) {
      throw new CryptoError('crypto.integrity', `the token signed with another key than ${keyId}`);
    }
    return signature;
  }

  async wrap(keyId: string, key: SecretBuffer): Promise<Uint8Array> {
    const stored = await this.#usable(keyId, ['active']);
    if (stored.info.algorithm !== 'aes-256') throw refusedFor(keyId, 'wrap');
    if (key.length < 16 || key.length % 8 !== 0) {
      throw new CryptoError(
        'crypto.wrap-invalid',
        `expected a key of n x 8 bytes, n >= 2, got ${key.length}`,
      );
    }
    const { token, objects } = this.#opened;
    return guarded(`wrap with ${keyId}`, () =>
      token.run((session) => objects.wrap(session, this.#object(session, stored), key)),
    );
  }

  async unwrap(keyId: string, wrapped: Uint8Array): Promise<SecretBuffer> {
    const stored = await this.#usable(keyId, ['active', 'retired']);
    if (stored.info.algorithm !== 'aes-256') throw refusedFor(keyId, 'unwrap');
    return this.#unwrap(wrapped, (session) => this.#object(session, stored));
  }

  async close(): Promise<void> {
    await this.#changes.catch(() => {});
    this.#closed = true;
    await this.#opened.token.close();
  }

  /** What was read last, while the token is away. */
  async #keys(): Promise<readonly TokenKey[]> {
    if (this.#closed)
      throw new CryptoError('crypto.store-closed', 'expected an open key store, got a closed one');
    if (this.#isStale) {
      this.#state = await guarded('read the key store', () => readRecord(this.#opened));
      this.#isStale = false;
    }
    return this.#state.keys;
  }

  async #usable(id: string, states: readonly KeyState[]): Promise<TokenKey> {
    const key = (await this.#keys()).find(({ info }) => info.id === id);
    expectUsable(key?.info, id, states);
    return key as TokenKey;
  }

  #object(session: Session, { info, objectId }: TokenKey): Handle {
    const { token, labels } = this.#opened;
    const { CKO_PRIVATE_KEY, CKO_SECRET_KEY } = token.module.library;
    const objectClass = info.algorithm === 'aes-256' ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    return session.object(objectClass, labels.key(info.purpose), objectId);
  }

  async #unwrap(wrapped: Uint8Array, wrapping: (session: Session) => Handle): Promise<SecretBuffer> {
    if (wrapped.length < 24 || wrapped.length % 8 !== 0) {
      throw new CryptoError('crypto.integrity', `expected a wrapped key, got ${wrapped.length} bytes`);
    }
    const { token, objects } = this.#opened;
    return guarded('unwrap a key', async () => {
      try {
        return await token.run((session) => objects.unwrap(session, wrapping(session), wrapped));
      } catch (cause) {
        // The token is there, or this would have been crypto.hsm-away: so it is the bytes that it refuses.
        if (!(cause instanceof Error) || cause instanceof CryptoError || !TAMPERED.has(cause.message))
          throw cause;
        const message = 'wrapped key does not unwrap: it was changed or is another key’s';
        throw new CryptoError('crypto.integrity', message, { cause });
      }
    });
  }

  async #signSealed({ sealed = '' }: TokenKey, message: Uint8Array): Promise<Uint8Array> {
    const { token, labels } = this.#opened;
    const { CKO_SECRET_KEY } = token.module.library;
    const seed = await this.#unwrap(Buffer.from(sealed, 'base64'), (session) =>
      session.object(CKO_SECRET_KEY, labels.seal),
    );
    try {
      return sign(null, message, seed.use(mlDsaKey));
    } finally {
      seed.wipe();
    }
  }

  #setState(id: string, state: 'retired' | 'revoked'): Promise<KeyInfo> {
    return this.#change(`mark ${id} as ${state}`, async (keys) => {
      const key = keys.find(({ info }) => info.id === id);
      expectUsable(key?.info, id, state === 'retired' ? ['active'] : ['active', 'retired']);
      const changed = withState(key as TokenKey, state);
      return { keys: keys.map((each) => (each.info.id === id ? changed : each)), changed, made: [] };
    });
  }

  /** Starts from the record in the token, writes the new one beside it, and believes it afterwards. */
  #change(
    what: string,
    make: (
      keys: readonly TokenKey[],
      session: Session,
    ) => Promise<{
      readonly keys: readonly TokenKey[];
      readonly changed: TokenKey;
      readonly made: readonly Handle[];
    }>,
  ): Promise<KeyInfo> {
    const { token } = this.#opened;
    const change = this.#changes.then(async () => {
      await this.#keys();
      return guarded(what, () =>
        token.run(async (session) => {
          const before = await readRecordOn(this.#opened, session);
          const { keys, changed } = await make(before.keys, session);
          const state = { ...before, sequence: before.sequence + 1, keys };
          // From here on a failure does not tell whether the record was written; its keys are left as they are.
          this.#isStale = true;
          await writeRecord(this.#opened, session, state);
          this.#state = state;
          this.#isStale = false;
          return changed.info;
        }),
      );
    });
    this.#changes = change.catch(() => {});
    return change;
  }
}

function withState(key: TokenKey, state: KeyState): TokenKey {
  return { ...key, info: { ...key.info, state } };
}
