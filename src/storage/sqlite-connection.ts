import { DatabaseSync } from 'node:sqlite';
import { Connection } from './connection.ts';
import { StorageError } from './errors.ts';
import { MIGRATIONS, migrationSteps } from './migrations.ts';
import { makePrivateFile } from './private-file.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import type { Tables } from './tables.ts';

/** Who waits for a lock holds up everything else of this thread; nobody else should have one on a file of ours. */
const BUSY_MS = 50;

/** Result codes, https://sqlite.org/rescode.html. */
const SQLITE_FULL = 13;
/** SQLITE_BUSY, LOCKED, READONLY (as after a remount), IOERR, CANTOPEN, PROTOCOL: of the file's surroundings, not of what is in it. */
const AWAY: ReadonlySet<number> = new Set([5, 6, 8, 10, 14, 15]);

/**
 * Opens or makes the file (mode 0600) and brings its tables up to date. In WAL mode with `synchronous = FULL`: what is
 * committed is on the disk. Throws `storage.database-newer` and `storage.database-failed`.
 */
export async function openSqlite(path: string): Promise<Connection> {
  const kysely = await import('kysely');
  const database = openMigrated(path, MIGRATIONS.length);
  const queries = new kysely.Kysely<Tables>({ dialect: sqliteDialect(kysely, database) });
  return new Connection({ queries, explain });
}

/**
 * Takes the tables of a file forward or back to a format, one numbered migration after the other, each in a transaction
 * of its own. Throws `storage.migration-loses-rows` instead of dropping a table that holds any.
 */
export function migrateSqlite(path: string, format: number): void {
  openMigrated(path, format).close();
}

function openMigrated(path: string, format: number): DatabaseSync {
  let database: DatabaseSync;
  try {
    makePrivateFile(path);
    database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 2000 });
  } catch (cause) {
    throw new StorageError('storage.database-failed', 'could not open the database', { cause });
  }
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF');
    migrate(database, format);
    database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    return database;
  } catch (cause) {
    database.close();
    if (cause instanceof StorageError) throw cause;
    throw new StorageError('storage.database-failed', 'could not prepare the database', { cause });
  }
}

function migrate(database: DatabaseSync, format: number): void {
  const held = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  for (const step of migrationSteps(held, format, 'sqlite')) {
    database.exec('BEGIN IMMEDIATE');
    try {
      for (const table of step.empty) {
        if (database.prepare(`SELECT 1 FROM ${table} LIMIT 1`).get() !== undefined) throw step.refusal(table);
      }
      database.exec(`${step.sql}; PRAGMA user_version = ${step.format}; COMMIT`);
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }
}

function explain(cause: unknown): StorageError | undefined {
  if (!isSqlite(cause)) return undefined;
  // SQLITE_CONSTRAINT_FOREIGNKEY is 787.
  if (cause.errcode === 787) {
    return new StorageError('storage.row-missing', 'the row points to one that is not there', { cause });
  }
  const primary = cause.errcode & 0xff;
  if (primary === SQLITE_FULL) {
    return new StorageError('storage.disk-full', 'there is no room for the database', { cause });
  }
  if (AWAY.has(primary)) {
    return new StorageError('storage.database-away', `SQLite answered ${cause.errcode}`, { cause });
  }
  // SQLITE_CONSTRAINT is 19; the kind of constraint stands in the higher bits.
  if (primary === 19) {
    return new StorageError('storage.row-exists', 'the row contradicts one that is there', { cause });
  }
  return new StorageError('storage.database-failed', 'the query failed', { cause });
}

function isSqlite(error: unknown): error is Error & { errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
}
