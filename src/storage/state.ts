import { chmod, mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StorageError } from './errors.ts';
import { makePrivateFile } from './private-file.ts';

/** Held by the one process that owns a state folder. */
export interface StateOwner {
  readonly folder: string;
  /** Lets go of the folder; the kernel does the same when the process dies in any way. */
  release(): Promise<void>;
}

/** What stands in a state folder. */
export interface StateLayout {
  readonly audit: string;
  readonly blobs: string;
  readonly wraps: string;
  readonly keys: string;
  /** Wrong PINs of a token in a row. */
  readonly pinAttempts: string;
  readonly database: string;
  readonly socket: string;
  readonly lock: string;
  readonly adminKey: string;
  /** Sealed states of trainings that can be resumed. */
  readonly checkpoints: string;
}

/** `shared` holds what servers on one PostgreSQL have in common; it is the state folder itself by default. */
export function stateLayout(folder: string, shared = folder): StateLayout {
  return {
    audit: join(shared, 'audit'),
    blobs: join(shared, 'blobs'),
    wraps: join(shared, 'wraps'),
    keys: join(shared, 'keys.json'),
    pinAttempts: join(shared, 'pin-attempts.json'),
    database: join(folder, 'guardian.db'),
    socket: join(folder, 'guardian.sock'),
    lock: join(folder, 'owner.lock'),
    adminKey: join(folder, 'admin.key'),
    checkpoints: join(folder, 'checkpoints'),
  };
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where state lives: `explicit` (`--state`), GUARDIAN_STATE, XDG_STATE_HOME/ai-guardian, ~/.local/state/ai-guardian. */
export function stateFolder(env: Environment, explicit?: string): string {
  const named = explicit ?? env.GUARDIAN_STATE;
  if (named !== undefined && named !== '') return resolve(named);
  return join(baseFolder(env.XDG_STATE_HOME, env, '.local/state'), 'ai-guardian');
}

/** Where the unlock secret and the configuration live, apart from the state: XDG_CONFIG_HOME or ~/.config. */
export function configFolder(env: Environment): string {
  return join(baseFolder(env.XDG_CONFIG_HOME, env, '.config'), 'ai-guardian');
}

/**
 * Makes the folder (mode 0700) and takes the one lock on it. The lock is a SQLite file held by an exclusive
 * transaction: the kernel frees it when this process dies, so none is ever stale.
 * Throws `storage.state-owned` (retry may help) and `storage.state-unsafe`.
 */
export async function claimState(folder: string): Promise<StateOwner> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await checkFolder(folder);
  const lock = takeLock(stateLayout(folder).lock);
  return {
    folder,
    release: async () => {
      if (lock.isOpen) lock.close();
    },
  };
}

async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder);
  if (!found.isDirectory())
    throw new StorageError('storage.state-unsafe', 'expected the state to be a plain folder');
  if (process.getuid === undefined) return;
  if (found.uid !== process.getuid()) {
    throw new StorageError(
      'storage.state-unsafe',
      `expected a state folder of user ${process.getuid()}, got ${found.uid}`,
    );
  }
  if ((found.mode & 0o077) !== 0) await chmod(folder, 0o700);
}

function takeLock(path: string): DatabaseSync {
  makePrivateFile(path);
  const lock = new DatabaseSync(path, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    // SQLITE_BUSY is 5.
    if (cause instanceof Error && 'errcode' in cause && Number(cause.errcode) === 5) {
      throw new StorageError('storage.state-owned', 'another process owns the state folder', { cause });
    }
    throw new StorageError('storage.database-failed', 'could not lock the state folder', { cause });
  }
}

/** The XDG specification says to ignore a relative path. */
function baseFolder(named: string | undefined, env: Environment, fallback: string): string {
  if (named !== undefined && isAbsolute(named)) return named;
  return join(env.HOME !== undefined && isAbsolute(env.HOME) ? env.HOME : homedir(), fallback);
}
