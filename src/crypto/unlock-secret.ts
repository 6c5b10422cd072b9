import { type Argon2Parameters, argon2, hkdfSync, randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { faultPoint, syncFolder } from '../base/index.ts';
import { CryptoError } from './errors.ts';
import { SecretBuffer } from './secret-buffer.ts';

/**
 * What opens a file key store: 32 random bytes in a file that lives apart from the state (it protects against a
 * copied state folder and nothing else), or a passphrase. The passphrase stays the caller's, who wipes it.
 */
export type UnlockSecret =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'passphrase'; readonly passphrase: SecretBuffer };

/** How much work argon2id does for one guess. */
export interface PassphraseCost {
  /** KiB of memory. */
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** RFC 9106 section 4, second recommended option: 64 MiB, three passes, four lanes. */
export const DEFAULT_PASSPHRASE_COST: PassphraseCost = { memory: 65536, passes: 3, parallelism: 4 };

/** Stored beside the encrypted keys, in clear and authenticated. `salt` is 32 bytes in base64. */
export type UnlockRecord =
  | { readonly kind: 'file'; readonly salt: string }
  | {
      readonly kind: 'passphrase';
      readonly algorithm: 'argon2id';
      readonly salt: string;
      readonly memory: number;
      readonly passes: number;
      readonly parallelism: number;
    };

/** What a secret is turned into: the encryption key, and 16 bytes that tell a wrong secret from a changed file. */
export interface UnlockKeys {
  readonly encryption: SecretBuffer;
  readonly check: string;
}

const UNLOCK_BYTES = 32;
/** A changed file must not be able to ask for unbounded work. */
const MAX_COST: PassphraseCost = { memory: 1 << 20, passes: 16, parallelism: 16 };

const argon2Async: (algorithm: 'argon2id', parameters: Argon2Parameters) => Promise<Buffer> =
  promisify(argon2);

export function newUnlockRecord(kind: UnlockSecret['kind'], cost: PassphraseCost): UnlockRecord {
  const salt = randomBytes(32).toString('base64');
  if (kind === 'file') return { kind, salt };
  return {
    kind,
    algorithm: 'argon2id',
    salt,
    memory: cost.memory,
    passes: cost.passes,
    parallelism: cost.parallelism,
  };
}

export function isUnlockRecord(value: unknown): value is UnlockRecord {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Record<string, unknown>;
  if (typeof record.salt !== 'string') return false;
  if (record.kind === 'file') return true;
  return (
    record.kind === 'passphrase' &&
    record.algorithm === 'argon2id' &&
    isWithin(record.memory, MAX_COST.memory) &&
    isWithin(record.passes, MAX_COST.passes) &&
    isWithin(record.parallelism, MAX_COST.parallelism)
  );
}

/** Throws `crypto.unlock-refused` when the store was made for the other kind of secret, and what reading the file throws. */
export async function deriveUnlockKeys(secret: UnlockSecret, record: UnlockRecord): Promise<UnlockKeys> {
  const salt = Buffer.from(record.salt, 'base64');
  const root = await rootSecret(secret, record, salt);
  const expand = (info: string, length: number) =>
    root.use(
      (bytes) => new Uint8Array(hkdfSync('sha256', bytes, salt, `ai-guardian key store v1 ${info}`, length)),
    );
  const encryption = SecretBuffer.from(expand('encryption', 32));
  const check = Buffer.from(expand('check', 16)).toString('base64');
  root.wipe();
  return { encryption, check };
}

/**
 * Makes the unlock file (mode 0600, its folder 0700) unless it exists. Durable when resolved. It is written whole
 * beside its place and then linked there: a crash leaves no file that is too short to open anything. One that was put
 * there may lie in a folder that cannot be written.
 */
export async function ensureUnlockFile(path: string): Promise<void> {
  if (await fileExists(path)) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const secret = SecretBuffer.random(UNLOCK_BYTES);
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await secret.use((bytes) => file.writeFile(bytes));
      await file.sync();
    } finally {
      await file.close();
    }
    await chmod(temporary, 0o600);
    faultPoint('crypto.unlock.before-link');
    await link(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    secret.wipe();
    await rm(temporary, { force: true });
  }
}

async function rootSecret(secret: UnlockSecret, record: UnlockRecord, salt: Buffer): Promise<SecretBuffer> {
  if (secret.kind === 'file' && record.kind === 'file') return readUnlockFile(secret.path);
  if (secret.kind === 'passphrase' && record.kind === 'passphrase') {
    const { memory, passes, parallelism } = record;
    const derived = secret.passphrase.use((message) =>
      argon2Async('argon2id', { message, nonce: salt, tagLength: 32, memory, passes, parallelism }),
    );
    return SecretBuffer.from(await derived);
  }
  const message = `the key store opens by ${record.kind}, expected that, got a secret by ${secret.kind}`;
  throw new CryptoError('crypto.unlock-refused', message);
}

async function readUnlockFile(path: string): Promise<SecretBuffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    if (!isCode(cause, 'ENOENT')) throw cause;
    throw new CryptoError('crypto.unlock-missing', `expected the unlock file at ${path}, found none`, {
      cause,
    });
  });
  try {
    const { mode } = await file.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      const found = (mode & 0o777).toString(8);
      throw new CryptoError('crypto.unlock-exposed', `expected mode 600 on ${path}, got ${found}`);
    }
    const bytes = await file.readFile();
    if (bytes.length !== UNLOCK_BYTES) {
      const message = `expected ${UNLOCK_BYTES} bytes in ${path}, got ${bytes.length}`;
      throw new CryptoError('crypto.unlock-refused', message);
    }
    return SecretBuffer.from(bytes);
  } finally {
    await file.close();
  }
}

/** Whether a file exists; anything but its absence is thrown. */
export async function fileExists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if (isCode(error, 'ENOENT')) return false;
      throw error;
    },
  );
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function isWithin(value: unknown, high: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= high;
}
