import { randomFillSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { inspect } from 'node:util';
import { CryptoError } from './errors.ts';

const HIDDEN = '[secret]';

interface Sodium {
  /** Memory between guard pages, locked against swapping and left out of core dumps. */
  sodium_malloc(length: number): Buffer;
}

/** Loaded with the first secret: what holds none starts without it. `null` where it is not there. */
let loadedSodium: Sodium | null | undefined;

/** Whether secrets lie in locked memory: `sodium-native` is an optional peer. */
export function isSecretMemoryLocked(): boolean {
  return sodium() !== null;
}

function sodium(): Sodium | null {
  if (loadedSodium !== undefined) return loadedSodium;
  loadedSodium = null;
  try {
    const loaded: unknown = createRequire(import.meta.url)('sodium-native');
    if (typeof loaded === 'object' && loaded !== null && 'sodium_malloc' in loaded) {
      loadedSodium = loaded as Sodium;
    }
  } catch {
    // Secrets lie in plain memory then, and the doctor says so.
  }
  return loadedSodium;
}

/**
 * Secret bytes in memory of their own, outside the shared Buffer pool, wiped on demand, and shown as
 * `[secret]` by printing, JSON and inspection.
 *
 * Where `sodium-native` is present the memory is locked, as far as the process may lock any. What it cannot do: without
 * that the operating system may have swapped the page, the garbage collector never moves it but also never wipes it
 * unasked, and a `KeyObject` made from it keeps a copy that cannot be wiped.
 */
export class SecretBuffer {
  readonly #bytes: Buffer;
  #wiped = false;

  private constructor(length: number) {
    // An empty one has nothing to lock.
    const locked = length === 0 ? null : sodium();
    this.#bytes = locked === null ? Buffer.allocUnsafeSlow(length) : locked.sodium_malloc(length);
  }

  /** Takes a private copy and wipes the argument. */
  static from(bytes: Uint8Array): SecretBuffer {
    const secret = new SecretBuffer(bytes.byteLength);
    secret.#bytes.set(bytes);
    bytes.fill(0);
    return secret;
  }

  /** `length` bytes from the operating system's generator. */
  static random(length: number): SecretBuffer {
    const secret = new SecretBuffer(length);
    randomFillSync(secret.#bytes);
    return secret;
  }

  get length(): number {
    return this.#bytes.length;
  }

  get isWiped(): boolean {
    return this.#wiped;
  }

  /** Lends the bytes to `f`, which must not keep or change them. Throws `crypto.secret-wiped`. */
  use<T>(f: (bytes: Uint8Array) => T): T {
    if (this.#wiped) throw new CryptoError('crypto.secret-wiped', 'expected a secret, got a wiped one');
    return f(this.#bytes);
  }

  /** Overwrites the bytes with zeros. May be called twice. */
  wipe(): void {
    this.#bytes.fill(0);
    this.#wiped = true;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
