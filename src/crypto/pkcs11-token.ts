import type { Milliseconds } from '../base/index.ts';
import { CryptoError } from './errors.ts';
import type { PinGuard } from './pin-guard.ts';
import { type Pkcs11Module, returnValue } from './pkcs11-module.ts';
import type { Pkcs11Uri } from './pkcs11-uri.ts';

/** A handle as the module gives it; good for one connection. */
export type Handle = Buffer;

export interface TokenOptions {
  readonly module: Pkcs11Module;
  readonly uri: Pkcs11Uri;
  readonly pin: PinGuard;
  /**
   * Label of an object that is there whenever the token is; its absence means that the token is away. None while
   * a store is being made.
   */
  readonly landmark?: string;
  /** Sessions at once; default 8. */
  readonly sessions?: number;
  /** After this long an operation is given up; default 10 s. */
  readonly timeoutMs?: Milliseconds;
}

/** Return values after which a new connection may help. */
const LOST: ReadonlySet<string> = new Set([
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SLOT_ID_INVALID',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_UNWRAPPING_KEY_HANDLE_INVALID',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_WRAPPING_KEY_HANDLE_INVALID',
]);

/** One more after a lost connection, and one for a module that another user of it restarted meanwhile. */
const MAX_TRIES = 3;

/** An object that was looked for and not found: the key is gone, or the whole token is. */
export class ObjectNotFound extends Error {
  readonly label: string;

  constructor(label: string) {
    super(`no object ${label}`);
    this.label = label;
  }
}

interface Connection {
  readonly epoch: number;
  readonly slot: Handle;
  readonly handles: Map<string, Handle>;
  readonly idle: Handle[];
}

/** What an operation is given: one session, its own until it ends. */
export interface Session {
  readonly handle: Handle;
  /** The one object of a class, CKA_ID (hex) and label. Throws `ObjectNotFound`. */
  object(objectClass: number, label: string, id?: string): Handle;
}

/**
 * A token through a pool of sessions. One operation runs on one session; a session that saw an error is thrown away.
 * Where the connection was lost, it logs in again, finds its objects again and tries the operation once more.
 */
export class Pkcs11Token {
  readonly module: Pkcs11Module;
  readonly #options: TokenOptions;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  #busy = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: TokenOptions) {
    this.module = options.module;
    this.#options = options;
  }

  /** Throws `crypto.hsm-away`, `crypto.pin-*`, `crypto.hsm-failed`, `ObjectNotFound`, and what `work` throws of its own. */
  async run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      for (let tries = 1; ; tries++) {
        const connection = this.#alive() ?? (await this.#connect());
        try {
          return await this.#attempt(connection, work);
        } catch (error) {
          if (error instanceof CryptoError || !this.#isLost(error)) throw error;
          if (this.#connection === connection) this.#connection = undefined;
          if (tries < MAX_TRIES) continue;
          // The token is there, or connecting would have failed: so it is the object that is not.
          throw error instanceof ObjectNotFound ? error : this.#away(error);
        }
      }
    } finally {
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  /** Whether the token answers and holds what is there whenever it is. */
  isPresent(): boolean {
    const connection = this.#alive();
    if (connection === undefined) return false;
    try {
      this.module.api.C_GetTokenInfo(connection.slot);
      const session = this.#openSession(connection.slot);
      try {
        return this.#seesLandmark(session);
      } finally {
        this.#closeSession(session, connection.epoch);
      }
    } catch {
      return false;
    }
  }

  /** Closes what is open; the module stays loaded for others. */
  async close(): Promise<void> {
    const connection = this.#alive();
    this.#connection = undefined;
    if (connection === undefined) return;
    for (const session of connection.idle) this.#closeSession(session, connection.epoch);
  }

  async #enter(): Promise<void> {
    const { sessions = 8 } = this.#options;
    while (this.#busy >= sessions) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy++;
  }

  #alive(): Connection | undefined {
    return this.#connection?.epoch === this.module.epoch ? this.#connection : undefined;
  }

  async #attempt<T>(connection: Connection, work: (session: Session) => Promise<T>): Promise<T> {
    if (connection.epoch !== this.module.epoch) throw new ObjectNotFound('connection');
    const handle = connection.idle.pop() ?? this.#openSession(connection.slot);
    const session: Session = {
      handle,
      object: (objectClass, label, id) => this.#object(connection, handle, { objectClass, label, id }),
    };
    // The whole operation counts: a restart between its calls would give its handles another meaning.
    const working = this.module.call(() => work(session));
    let result: T;
    try {
      result = await this.#withDeadline(working);
    } catch (error) {
      // It may still be in the middle of an operation: never used again, and closed once the token lets go of it.
      void working.catch(() => {}).then(() => this.#closeSession(handle, connection.epoch));
      throw error;
    }
    if (this.#connection === connection) connection.idle.push(handle);
    else this.#closeSession(handle, connection.epoch);
    return result;
  }

  async #withDeadline<T>(working: Promise<T>): Promise<T> {
    const { timeoutMs = 10_000 } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#away(`it did not answer within ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      return await Promise.race([working, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Some modules tell a lost token by a general error, or find nothing: then the token itself is asked. */
  #isLost(error: unknown): boolean {
    if (error instanceof ObjectNotFound) return true;
    const value = returnValue(error);
    if (value === undefined) return false;
    return LOST.has(value) || !this.isPresent();
  }

  #connect(): Promise<Connection> {
    this.#connecting ??= this.#reconnect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #reconnect(): Promise<Connection> {
    const epoch = this.module.epoch;
    try {
      return await this.#logIn();
    } catch (error) {
      if (error instanceof CryptoError && error.code !== 'crypto.hsm-away') throw error;
    }
    await this.module.restart(epoch);
    return this.#logIn();
  }

  async #logIn(): Promise<Connection> {
    const { api } = this.module;
    const { epoch } = this.module;
    let session: Handle | undefined;
    try {
      const slot = this.#findSlot();
      if (slot === undefined) throw this.#away('no token fits the uri');
      const opened = this.#openSession(slot);
      session = opened;
      // CKS_RW_USER_FUNCTIONS is 3: the process has logged in through another session.
      if (api.C_GetSessionInfo(opened).state !== 3) {
        await this.#options.pin.attempt((pin) => this.#tryPin(opened, pin));
      }
      const connection: Connection = { epoch, slot, handles: new Map(), idle: [opened] };
      if (!this.#seesLandmark(opened)) throw this.#away(new ObjectNotFound(this.#options.landmark ?? ''));
      this.#connection = connection;
      return connection;
    } catch (error) {
      if (session !== undefined) this.#closeSession(session, epoch);
      if (error instanceof CryptoError) throw error;
      throw this.#away(error);
    }
  }

  #tryPin(session: Handle, pin: string): boolean {
    const { api, library } = this.module;
    try {
      api.C_Login(session, library.CKU_USER, pin);
      return true;
    } catch (error) {
      switch (returnValue(error)) {
        case 'CKR_USER_ALREADY_LOGGED_IN':
          return true;
        case 'CKR_PIN_INCORRECT':
        case 'CKR_PIN_INVALID':
        case 'CKR_PIN_LEN_RANGE':
          return false;
        case 'CKR_PIN_LOCKED':
          throw new CryptoError(
            'crypto.pin-locked-out',
            'the token has locked itself; its security officer unlocks it',
          );
        default:
          throw error;
      }
    }
  }

  #findSlot(): Handle | undefined {
    const { api } = this.module;
    const { token, serial, manufacturer, model, slotId } = this.#options.uri;
    const fits = (wanted: string | undefined, got: string) =>
      wanted === undefined || wanted === trimField(got);
    return api.C_GetSlotList(true).find((slot) => {
      if (slotId !== undefined && slot.readUInt32LE(0) !== slotId) return false;
      try {
        const info = api.C_GetTokenInfo(slot);
        return (
          (info.flags & this.module.library.CKF_TOKEN_INITIALIZED) !== 0 &&
          fits(token, info.label) &&
          fits(serial, info.serialNumber) &&
          fits(manufacturer, info.manufacturerID) &&
          fits(model, info.model)
        );
      } catch {
        return false;
      }
    });
  }

  #object(
    connection: Connection,
    session: Handle,
    wanted: { readonly objectClass: number; readonly label: string; readonly id: string | undefined },
  ): Handle {
    const { library } = this.module;
    const { objectClass, label, id } = wanted;
    const key = `${objectClass} ${id} ${label}`;
    const known = connection.handles.get(key);
    if (known !== undefined) return known;
    const [found] = this.#find(session, [
      { type: library.CKA_CLASS, value: objectClass },
      { type: library.CKA_LABEL, value: label },
      ...(id === undefined ? [] : [{ type: library.CKA_ID, value: Buffer.from(id, 'hex') }]),
    ]);
    if (found === undefined) throw new ObjectNotFound(label);
    connection.handles.set(key, found);
    return found;
  }

  #seesLandmark(session: Handle): boolean {
    const { landmark } = this.#options;
    if (landmark === undefined) return true;
    return this.#find(session, [{ type: this.module.library.CKA_LABEL, value: landmark }]).length > 0;
  }

  #find(session: Handle, template: { type: number; value: number | string | Buffer }[]): Handle[] {
    const { api } = this.module;
    api.C_FindObjectsInit(session, template);
    try {
      return api.C_FindObjects(session, 64);
    } finally {
      api.C_FindObjectsFinal(session);
    }
  }

  #openSession(slot: Handle): Handle {
    const { api, library } = this.module;
    return api.C_OpenSession(slot, library.CKF_SERIAL_SESSION | library.CKF_RW_SESSION);
  }

  /** After a restart the same number may be another's session, which must stay. */
  #closeSession(session: Handle, epoch: number): void {
    if (epoch !== this.module.epoch) return;
    try {
      this.module.api.C_CloseSession(session);
    } catch {
      // It died with its connection.
    }
  }

  #away(cause: unknown): CryptoError {
    const why = typeof cause === 'string' ? cause : (returnValue(cause) ?? 'its objects are not to be found');
    return new CryptoError('crypto.hsm-away', `the token is away: ${why}`, { cause });
  }
}

/** Fields of fixed length are padded with spaces, by some writers with zeros. */
export function trimField(text: string): string {
  return text.replace(/[\0 ]+$/, '');
}
