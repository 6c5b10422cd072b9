import { access } from 'node:fs/promises';
import type * as Pkcs11 from 'pkcs11js';
import { CryptoError } from './errors.ts';

export type Api = Pkcs11.PKCS11;
export type Library = typeof Pkcs11;

/** Gives the package pkcs11js; replaced in tests. */
export type LoadLibrary = () => Promise<unknown>;

/** Where SoftHSM's module lies on the systems it is packaged for; used where a URI names none. */
export const SOFTHSM_PATHS: readonly string[] = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
];

/** One module a path: C_Initialize and C_Finalize act on the whole process, whoever calls them. */
const modules = new Map<string, Pkcs11Module>();

/** Loads and initialises a PKCS#11 module once. Throws `crypto.pkcs11-missing`, `crypto.module-missing`. */
export async function loadModule(
  path: string | undefined,
  load: LoadLibrary = () => import('pkcs11js'),
): Promise<Pkcs11Module> {
  const found = path ?? (await firstThere(SOFTHSM_PATHS));
  if (found === undefined) {
    throw new CryptoError(
      'crypto.module-missing',
      'the uri names no module-path, and SoftHSM is not installed',
    );
  }
  const library = await loadLibrary(load);
  if (!(await isThere(found))) {
    throw new CryptoError('crypto.module-missing', `expected a PKCS#11 module at ${found}, found none`);
  }
  const known = modules.get(found);
  if (known !== undefined) return known;
  const api = new library.PKCS11();
  try {
    api.load(found);
  } catch (cause) {
    throw new CryptoError('crypto.module-missing', `${found} cannot be loaded as a PKCS#11 module`, {
      cause,
    });
  }
  const module = new Pkcs11Module(found, api, library);
  module.initialize();
  modules.set(found, module);
  return module;
}

/** A loaded module. Operations under way are counted, so that it is never finalized under one. */
export class Pkcs11Module {
  readonly path: string;
  readonly api: Api;
  readonly library: Library;
  #epoch = 0;
  #running = 0;
  readonly #idle: (() => void)[] = [];

  constructor(path: string, api: Api, library: Library) {
    this.path = path;
    this.api = api;
    this.library = library;
  }

  /** Grows with each initialisation; sessions and handles of an older one are void. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Whether this is SoftHSM, where tokens may be made by anyone. */
  get isSoftHsm(): boolean {
    return this.api.C_GetInfo().manufacturerID.startsWith('SoftHSM');
  }

  initialize(): void {
    try {
      this.api.C_Initialize({ flags: this.library.CKF_OS_LOCKING_OK });
    } catch (error) {
      if (returnValue(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw moduleFailed(this.path, error);
    }
    this.#epoch++;
  }

  /**
   * Starts the module anew, since some (SoftHSM) find a token that went and came back in no other way. Waits for calls
   * under way, of every user of the module; all sessions are void afterwards.
   */
  async restart(epoch: number): Promise<void> {
    while (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    // Someone else was faster.
    if (this.#epoch !== epoch) return;
    try {
      this.api.C_Finalize();
    } catch {
      // It was not initialised, or is too broken to say goodbye to.
    }
    this.initialize();
  }

  /** One operation from its first call to its last, during which the module is not restarted. */
  async call<T>(work: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
}

/** The name of a return value such as `CKR_PIN_INCORRECT`, however the error came; undefined for other errors. */
export function returnValue(error: unknown): string | undefined {
  return error instanceof Error ? /\bCKR_[A-Z0-9_]+/.exec(error.message)?.[0] : undefined;
}

async function loadLibrary(load: LoadLibrary): Promise<Library> {
  try {
    const loaded = (await load()) as Library & { readonly default?: Library };
    // A CommonJS package: not all its names are seen from outside.
    return loaded.default ?? loaded;
  } catch (cause) {
    throw new CryptoError(
      'crypto.pkcs11-missing',
      'the package pkcs11js is not installed: npm install pkcs11js@2.1.7',
      {
        cause,
      },
    );
  }
}

function moduleFailed(path: string, cause: unknown): CryptoError {
  const why = returnValue(cause) ?? 'no reason given';
  return new CryptoError('crypto.module-missing', `the module ${path} does not start: ${why}`, { cause });
}

async function firstThere(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isThere(path)) return path;
  return undefined;
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
