import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult } from 'kysely';

type KyselyPackage = typeof import('kysely');

/** Statements kept prepared, the ones used last. */
const MAX_STATEMENTS = 128;
/** Longer text is that of a batch, whose length differs from one to the next. */
const MAX_KEPT_TEXT = 2_048;

/**
 * Kysely's queries over the one connection of `node:sqlite`. A query that waits for its turn sees what the transaction
 * before it left, never its middle. The package is handed in, because loading it costs what a short command has not.
 */
export function sqliteDialect(kysely: KyselyPackage, database: DatabaseSync): Dialect {
  return {
    createAdapter: () => new kysely.SqliteAdapter(),
    createDriver: () => new SqliteDriver(database),
    createIntrospector: (db) => new kysely.SqliteIntrospector(db),
    createQueryCompiler: () => new kysely.SqliteQueryCompiler(),
  };
}

class SqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #connection: SqliteConnection;
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#connection = new SqliteConnection(database);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isTaken = true;
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    const next = this.#waiting.shift();
    // Handed on while still taken, so that nobody comes in between.
    if (next === undefined) this.#isTaken = false;
    else next();
  }

  /** Takes the write lock at once: a transaction that reads first could not be promoted beside another writer. */
  async beginTransaction(): Promise<void> {
    this.#database.exec('BEGIN IMMEDIATE');
  }

  async commitTransaction(): Promise<void> {
    this.#database.exec('COMMIT');
  }

  async rollbackTransaction(): Promise<void> {
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
  }

  async destroy(): Promise<void> {
    await this.acquireConnection();
    this.#connection.forget();
    if (this.#database.isOpen) this.#database.close();
    await this.releaseConnection();
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const statement = this.#prepare(sql);
    const values = parameters as readonly SQLInputValue[];
    if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] };
    return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) };
  }

  // biome-ignore lint/correctness/useYield: nothing here streams; the interface wants the method.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new TypeError('queries of this database are not streamed');
  }

  forget(): void {
    this.#statements.clear();
  }

  #prepare(sql: string): StatementSync {
    const kept = this.#statements.get(sql);
    if (kept !== undefined) return kept;
    const statement = this.#database.prepare(sql);
    if (sql.length > MAX_KEPT_TEXT) return statement;
    if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear();
    this.#statements.set(sql, statement);
    return statement;
  }
}
