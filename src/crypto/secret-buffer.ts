import { randomFillSync } from 'node:crypto';
import { inspect } from 'node:util';
import { CryptoError } from './errors.ts';

const HIDDEN = '[secret]';

/**
 * Secret bytes in memory of their own, outside the shared Buffer pool, wiped on demand, and shown as
 * `[secret]` by printing, JSON and inspection.
 *
 * What it cannot do: the operating system may have swapped the page, the garbage collector never moves it
 * but also never wipes it unasked, and a `KeyObject` made from it keeps a copy that cannot be wiped.
 */
export class SecretBuffer {
  readonly #bytes: Buffer;
  #wiped = false;

  private constructor(length: number) {
    this.#bytes = Buffer.allocUnsafeSlow(length);
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
