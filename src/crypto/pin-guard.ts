import { open, readFile, rm } from 'node:fs/promises';
import { type Clock, type Milliseconds, writeFileAtomic } from '../base/index.ts';
import { CryptoError } from './errors.ts';
import { isCode } from './unlock-secret.ts';

/**
 * How wrong PINs are paced. Many tokens lock for good after some wrong PINs, others (SoftHSM) never do: so it is this
 * side that stops trying, across restarts.
 */
export interface PinPolicy {
  /** Wrong PINs in a row that cost no wait. */
  readonly freeAttempts: number;
  /** Wait after the next one; it doubles with each further one. */
  readonly firstWaitMs: Milliseconds;
  readonly longestWaitMs: Milliseconds;
}

export const DEFAULT_PIN_POLICY: PinPolicy = {
  freeAttempts: 2,
  firstWaitMs: 30_000,
  longestWaitMs: 15 * 60_000,
};

export interface PinGuardOptions {
  /** The PIN file: mode 0600, one line. */
  readonly pinPath: string;
  /** Where wrong attempts are counted, so that a restart does not forget them. */
  readonly attemptsPath: string;
  readonly clock: Clock;
  readonly policy?: PinPolicy;
}

interface Attempts {
  readonly failures: number;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
}

const MAX_PIN_BYTES = 256;

/** Reads the PIN when it is needed and keeps it no longer; counts wrong ones. */
export class PinGuard {
  readonly #options: PinGuardOptions;

  constructor(options: PinGuardOptions) {
    this.#options = options;
  }

  /**
   * Calls `login` with the PIN; it answers whether the PIN was right, and throws for any other trouble. Throws
   * `crypto.pin-locked-out` (with how long to wait) before trying, `crypto.pin-wrong`, `crypto.pin-missing`,
   * `crypto.pin-exposed`. A string cannot be wiped: the PIN stays in memory until it is collected.
   */
  async attempt(login: (pin: string) => boolean): Promise<void> {
    const { clock, attemptsPath, policy = DEFAULT_PIN_POLICY } = this.#options;
    const before = await this.#read();
    const now = clock.now();
    // A clock that was set back must not lock for longer than the longest wait.
    const waitMs = Math.min(before.notBefore - now, policy.longestWaitMs);
    if (before.failures > 0 && waitMs > 0) throw lockedOut(before.failures, waitMs);
    if (login(await readPin(this.#options.pinPath))) {
      if (before.failures > 0) await rm(attemptsPath, { force: true });
      return;
    }
    const failures = before.failures + 1;
    const over = failures - policy.freeAttempts;
    const nextWaitMs =
      over <= 0 ? 0 : Math.min(policy.longestWaitMs, policy.firstWaitMs * 2 ** Math.min(over - 1, 20));
    await writeFileAtomic(attemptsPath, JSON.stringify({ failures, notBefore: now + nextWaitMs }));
    const next =
      nextWaitMs === 0 ? 'may be tried again' : `is tried again in ${nextWaitMs / 1000} s at the earliest`;
    throw new CryptoError('crypto.pin-wrong', `the token refused the PIN, ${failures} in a row; it ${next}`);
  }

  async #read(): Promise<Attempts> {
    const text = await readFile(this.#options.attemptsPath, 'utf8').catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (text === undefined) return { failures: 0, notBefore: 0 };
    try {
      const { failures, notBefore } = JSON.parse(text) as Attempts;
      if (Number.isSafeInteger(failures) && failures >= 0 && Number.isFinite(notBefore))
        return { failures, notBefore };
    } catch {
      // Falls through: a file that does not parse was not written here.
    }
    const { clock, policy = DEFAULT_PIN_POLICY } = this.#options;
    return { failures: policy.freeAttempts, notBefore: clock.now() };
  }
}

async function readPin(path: string): Promise<string> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    if (!isCode(cause, 'ENOENT')) throw cause;
    throw new CryptoError('crypto.pin-missing', `expected the PIN file at ${path}, found none`, { cause });
  });
  try {
    const { mode, size } = await file.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      const found = (mode & 0o777).toString(8);
      throw new CryptoError('crypto.pin-exposed', `expected mode 600 on ${path}, got ${found}`);
    }
    if (size > MAX_PIN_BYTES) {
      throw new CryptoError(
        'crypto.pin-missing',
        `expected one line with a PIN in ${path}, got ${size} bytes`,
      );
    }
    return (await file.readFile('utf8')).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}

function lockedOut(failures: number, waitMs: Milliseconds): CryptoError {
  const message = `${failures} wrong PINs in a row: the token is not asked for another ${Math.ceil(waitMs / 1000)} s`;
  return new CryptoError('crypto.pin-locked-out', message);
}
