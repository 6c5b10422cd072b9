import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { faultPoint } from '../base/index.ts';
import { StorageError } from './errors.ts';
import { MIGRATIONS } from './migrations.ts';

/** One row as SQLite gives it. */
export type Row = Readonly<Record<string, SQLOutputValue>>;

/**
 * The one connection to `guardian.db`. `node:sqlite` is synchronous; the query sets above it are asynchronous, so
 * that a database across the network fits later. Each write is one transaction and durable when it returns.
 */
export class Connection {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens or makes the file (mode 0600) and brings its tables up to date. */
  constructor(path: string) {
    try {
      makePrivateFile(path);
      this.#db = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 2000 });
    } catch (cause) {
      throw new StorageError('storage.database-failed', 'could not open the database', { cause });
    }
    try {
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF');
      this.#migrate();
    } catch (cause) {
      this.#db.close();
      if (cause instanceof StorageError) throw cause;
      throw new StorageError('storage.database-failed', 'could not prepare the database', { cause });
    }
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values));
  }

  first(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#guard(() => this.#prepare(sql).get(...values));
  }

  /** Rows changed. To be called inside `write`. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return this.#guard(() => Number(this.#prepare(sql).run(...values).changes));
  }

  /** Runs `work` in one transaction; all of it is durable when this returns, or none of it is there. */
  write<T>(work: () => T): T {
    return this.#guard(() => {
      this.#db.exec('BEGIN IMMEDIATE');
      let result: T;
      try {
        result = work();
        faultPoint('storage.database.before-commit');
        this.#db.exec('COMMIT');
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
      faultPoint('storage.database.after-commit');
      return result;
    });
  }

  close(): void {
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #migrate(): void {
    const held = Number(this.#db.prepare('PRAGMA user_version').get()?.user_version);
    if (held > MIGRATIONS.length) {
      throw new StorageError(
        'storage.database-newer',
        `expected at most format ${MIGRATIONS.length}, the database has ${held}`,
      );
    }
    for (const [i, sql] of MIGRATIONS.entries()) {
      if (i < held) continue;
      this.write(() => this.#db.exec(`${sql}; PRAGMA user_version = ${i + 1}`));
    }
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof StorageError) throw cause;
      if (isForeignKey(cause)) {
        throw new StorageError('storage.row-missing', 'the row points to one that is not there', { cause });
      }
      if (isConstraint(cause)) {
        throw new StorageError('storage.row-exists', 'the row contradicts one that is there', { cause });
      }
      if (isSqlite(cause)) throw new StorageError('storage.database-failed', 'the query failed', { cause });
      throw cause;
    }
  }
}

/**
 * Makes an empty file of mode 0600 for SQLite, unless it exists. One that exists is not even opened: closing any
 * descriptor of a file drops the locks that this process holds on it (POSIX).
 */
export function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Parses a JSON column; throws `storage.row-malformed` on text that is not what `check` accepts. */
export function parseColumn<T>(row: Row, column: string, check: (value: unknown) => value is T): T {
  let value: unknown;
  try {
    value = JSON.parse(String(row[column]));
  } catch (cause) {
    throw new StorageError('storage.row-malformed', `column ${column} is no JSON`, { cause });
  }
  if (!check(value)) throw new StorageError('storage.row-malformed', `column ${column} has another shape`);
  return value;
}

export function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSqlite(error: unknown): error is Error & { errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
}

/** SQLITE_CONSTRAINT_FOREIGNKEY is 787. */
function isForeignKey(error: unknown): boolean {
  return isSqlite(error) && error.errcode === 787;
}

/** SQLITE_CONSTRAINT is 19; the kind of constraint stands in the higher bits. */
function isConstraint(error: unknown): boolean {
  return isSqlite(error) && (error.errcode & 0xff) === 19;
}
