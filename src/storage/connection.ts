import { faultPoint } from '../base/index.ts';
import { isDatabaseAway, StorageError } from './errors.ts';
import type { Queries, Writing } from './tables.ts';

/** One row as a database gives it. */
export type Row = Readonly<Record<string, unknown>>;

/** What differs between the databases beneath the queries. */
export interface ConnectionKind {
  readonly queries: Queries;
  /** Runs first in each writing transaction; what it throws undoes it. */
  readonly fence?: (writing: Writing) => Promise<void>;
  /** What an error of the database means; undefined for an error that is not one of it. */
  readonly explain: (error: unknown) => StorageError | undefined;
}

/** The way of the typed queries to their database. Each write is one transaction and durable when it resolves. */
export class Connection {
  readonly #kind: ConnectionKind;
  #isClosed = false;
  #failing: string | null = null;

  constructor(kind: ConnectionKind) {
    this.#kind = kind;
  }

  /** Code of what keeps the database from answering, as the last query found it; null where that was answered. */
  get failing(): string | null {
    return this.#failing;
  }

  async read<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return await this.#guard(() => work(this.#kind.queries));
  }

  /**
   * Runs `work` in one transaction; all of it is durable when this resolves, or none of it is there. `work` asks
   * through what it is given alone: on the way of `read` it would wait for itself.
   */
  async write<T>(work: (writing: Writing) => Promise<T>): Promise<T> {
    return await this.#guard(async () => {
      const result = await this.#kind.queries.transaction().execute(async (writing) => {
        await this.#kind.fence?.(writing);
        const value = await work(writing);
        faultPoint('storage.database.before-commit');
        return value;
      });
      faultPoint('storage.database.after-commit');
      return result;
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#kind.queries.destroy();
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new StorageError('storage.database-failed', 'the database is closed');
    try {
      const value = await work();
      this.#failing = null;
      return value;
    } catch (cause) {
      const error = cause instanceof StorageError ? cause : (this.#kind.explain(cause) ?? cause);
      // A query that was answered with a refusal says that somebody answers.
      if (error instanceof StorageError) this.#failing = isDatabaseAway(error) ? error.code : null;
      throw error;
    }
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
