import { timingSafeEqual } from 'node:crypto';
import { type Clock, faultPoint, type Milliseconds } from '../base/index.ts';
import { CryptoError } from './errors.ts';
import type { KeyPurpose } from './key-store.ts';
import { PinGuard, type PinPolicy } from './pin-guard.ts';
import { type LoadLibrary, loadModule } from './pkcs11-module.ts';
import { hsmFailed, TokenObjects } from './pkcs11-objects.ts';
import { decodeState, encodeState, joinState, splitState, type TokenState } from './pkcs11-state.ts';
import { ObjectNotFound, Pkcs11Token, type Session } from './pkcs11-token.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';

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

/** A token with the names of what one store keeps in it. */
export interface OpenedToken {
  readonly token: Pkcs11Token;
  readonly objects: TokenObjects;
  readonly labels: Labels;
  readonly clock: Clock;
}

const DEFAULT_STORE = 'ai-guardian';

/** Throws `crypto.uri-invalid`, `crypto.pkcs11-missing`, `crypto.module-missing`. `hasRecord`: a token without the record is another one. */
export async function openToken(options: Pkcs11KeyStoreOptions, hasRecord: boolean): Promise<OpenedToken> {
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

/** Throws `crypto.integrity`, and `ObjectNotFound` where the token holds no such store. */
export function readRecord(opened: OpenedToken): Promise<TokenState> {
  return opened.token.run((session) => readRecordOn(opened, session));
}

/** The newest record that the token's key vouches for; older ones are what a crash left behind. */
export async function readRecordOn(opened: OpenedToken, session: Session): Promise<TokenState> {
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
export async function writeRecord(opened: OpenedToken, session: Session, state: TokenState): Promise<void> {
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

/** Every error that leaves the store has a name of ours. */
export async function guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
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
