import { createPublicKey, type KeyObject, randomBytes, sign, timingSafeEqual } from 'node:crypto';
import { type Clock, faultPoint, type Milliseconds } from '../base/index.ts';
import { sha256Bytes, sha256Hex } from './digest.ts';
import { CryptoError } from './errors.ts';
import { ML_DSA_SEED_BYTES, mlDsaKey, publicKeyOfPoint } from './key-encodings.ts';
import {
  INITIAL_PURPOSES,
  type KeyInfo,
  type KeyPurpose,
  type KeyState,
  type KeyStore,
  PURPOSE_ALGORITHMS,
} from './key-store.ts';
import { PinGuard, type PinPolicy } from './pin-guard.ts';
import { type LoadLibrary, loadModule } from './pkcs11-module.ts';
import { hsmFailed, TokenObjects } from './pkcs11-objects.ts';
import {
  decodeState,
  encodeState,
  joinState,
  splitState,
  type TokenKey,
  type TokenState,
} from './pkcs11-state.ts';
import { type Handle, ObjectNotFound, Pkcs11Token, type Session } from './pkcs11-token.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';
import { SecretBuffer } from './secret-buffer.ts';
import { verifySignature } from './signatures.ts';
import { expectUsable, refusedFor } from './usable-key.ts';

export interface Pkcs11KeyStoreOptions {
  /** RFC 7512; `object` names the store, so that one token can hold several. */
  readonly uri: string;
  /** The PIN file, where the URI has no pin-source. */
  readonly pinPath: string;
  /** Where wrong PINs are counted. */
  readonly attemptsPath: string;
  readonly clock: Clock;
  readonly pinPolicy?: PinPolicy;
  /** After this long an operation is given up; default 10 s. */
  readonly timeoutMs?: Milliseconds;
  /** Default: the package pkcs11js, loaded when first used. */
  readonly loadLibrary?: LoadLibrary;
}

/** Labels of what one store keeps in a token. */
interface Labels {
  readonly record: string;
  readonly mac: string;
  readonly seal: string;
  key(purpose: KeyPurpose): string;
}

/** What opening and making a store have in common. */
interface Opened {
  readonly token: Pkcs11Token;
  readonly objects: TokenObjects;
  readonly labels: Labels;
  readonly clock: Clock;
}

const DEFAULT_STORE = 'ai-guardian';

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
            const { key, handles } = await makeKey(opened, session, purpose);
            keys.push(key);
            made.push(...handles);
          }
          await writeState(opened, session, { v: 1, format: 'ai-guardian-token-keys', sequence: 1, keys });
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
    return new Pkcs11KeyStore(opened, await guarded('read the key store', () => readState(opened)));
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
  readonly #opened: Opened;
  #state: TokenState;
  /** After a change that failed half way it is unknown which record the token holds. */
  #isStale = false;
  #closed = false;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(opened: Opened, state: TokenState) {
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
      const { key, handles } = await makeKey(this.#opened, session, purpose);
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
      this.#state = await guarded('read the key store', () => readState(this.#opened));
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
          const before = await readStateOn(this.#opened, session);
          const { keys, changed } = await make(before.keys, session);
          const state = { ...before, sequence: before.sequence + 1, keys };
          // From here on a failure does not tell whether the record was written; its keys are left as they are.
          this.#isStale = true;
          await writeState(this.#opened, session, state);
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

async function openToken(options: Pkcs11KeyStoreOptions, hasRecord: boolean): Promise<Opened> {
  const uri = parsePkcs11Uri(options.uri);
  const module = await loadModule(uri.modulePath, options.loadLibrary);
  const store = uri.object ?? DEFAULT_STORE;
  const labels: Labels = {
    record: `${store} record`,
    mac: `${store} record mac`,
    seal: `${store} seal`,
    key: (purpose) => `${store} ${purpose}`,
  };
  const { attemptsPath, clock, pinPolicy } = options;
  const pin = new PinGuard({
    pinPath: uri.pinPath ?? options.pinPath,
    attemptsPath,
    clock,
    ...(pinPolicy !== undefined && { policy: pinPolicy }),
  });
  const token = new Pkcs11Token({
    module,
    uri,
    pin,
    ...(hasRecord && { landmark: labels.record }),
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  });
  return { token, objects: new TokenObjects(module), labels, clock };
}

function readState(opened: Opened): Promise<TokenState> {
  return opened.token.run((session) => readStateOn(opened, session));
}

/** The newest record that the token's key vouches for; older ones are what a crash left behind. */
async function readStateOn(opened: Opened, session: Session): Promise<TokenState> {
  const { token, objects, labels } = opened;
  const found = objects.dataObjects(session, labels.record);
  if (found.length === 0) throw new ObjectNotFound(labels.record);
  const key = session.object(token.module.library.CKO_SECRET_KEY, labels.mac);
  const states: TokenState[] = [];
  for (const { bytes } of found) {
    const { mac, text } = splitState(bytes);
    if (mac.length !== 32 || !timingSafeEqual(mac, await objects.mac(session, key, text))) continue;
    states.push(decodeState(text));
  }
  const newest = states.sort((a, b) => a.sequence - b.sequence).at(-1);
  if (newest !== undefined) return newest;
  throw new CryptoError('crypto.integrity', 'the record of keys in the token is not what was written');
}

/** The new record first, then the old ones go: a crash between leaves two, of which the newer counts. */
async function writeState(opened: Opened, session: Session, state: TokenState): Promise<void> {
  const { token, objects, labels } = opened;
  const text = encodeState(state);
  const key = session.object(token.module.library.CKO_SECRET_KEY, labels.mac);
  const before = objects.dataObjects(session, labels.record).map(({ object }) => object);
  const record = joinState(text, await objects.mac(session, key, text));
  faultPoint('crypto.token.before-write');
  objects.putData(session, labels.record, record);
  faultPoint('crypto.token.after-write');
  objects.destroy(session, before);
}

async function makeKey(
  { token, objects, labels, clock }: Opened,
  session: Session,
  purpose: KeyPurpose,
): Promise<{ readonly key: TokenKey; readonly handles: readonly Handle[] }> {
  const algorithm = PURPOSE_ALGORITHMS[purpose];
  const base = {
    purpose,
    algorithm,
    createdAt: new Date(clock.now()).toISOString(),
    state: 'active',
  } as const;
  const label = labels.key(purpose);
  if (algorithm === 'aes-256') {
    const { objectId, handles } = await objects.makeSecret(session, 'wrap', label);
    return { key: { info: { id: `${purpose}-${objectId.slice(0, 16)}`, ...base }, objectId }, handles };
  }
  if (algorithm === 'ml-dsa-65') {
    const seed = SecretBuffer.random(ML_DSA_SEED_BYTES);
    try {
      const seal = session.object(token.module.library.CKO_SECRET_KEY, labels.seal);
      const sealed = Buffer.from(await objects.wrap(session, seal, seed)).toString('base64');
      const info = signingInfo(createPublicKey(seed.use(mlDsaKey)), base);
      return { key: { info, objectId: randomBytes(16).toString('hex'), sealed }, handles: [] };
    } finally {
      seed.wipe();
    }
  }
  const { objectId, handles, point } = await objects.makePair(session, algorithm, label);
  return { key: { info: signingInfo(publicKeyOfPoint(algorithm, point), base), objectId }, handles };
}

function signingInfo(publicKey: KeyObject, base: Omit<KeyInfo, 'id' | 'publicKeyPem'>): KeyInfo {
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const publicKeyPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  return { id: `${base.purpose}-${sha256Hex(spki).slice(0, 16)}`, ...base, publicKeyPem };
}

/** Every error that leaves the store has a name of ours. */
async function guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ObjectNotFound) {
      const message = `the token is there and does not hold ${error.label}, to ${what}`;
      throw new CryptoError('crypto.key-missing', message, { cause: error });
    }
    throw hsmFailed(what, error);
  }
}

function withState(key: TokenKey, state: KeyState): TokenKey {
  return { ...key, info: { ...key.info, state } };
}
