import type { Kysely, Transaction } from 'kysely';
import type { Milliseconds } from '../base/index.ts';
import { StorageError } from './errors.ts';
import { explainPostgres, type PostgresTables } from './postgres-connection.ts';

type Sql = typeof import('kysely').sql;
type Queries = Kysely<PostgresTables>;

export interface WriterLeaseOptions {
  readonly queries: Queries;
  readonly sql: Sql;
  /** Says who it is, to whoever finds the lease taken. */
  readonly holder: string;
  readonly leaseMs: Milliseconds;
  /** Told once, when another writer was seen to have taken over. */
  readonly onFenced?: (() => void) | undefined;
}

/**
 * The lease of the one writer: a row with its holder, a token that only grows, and when it expires by the database's
 * clock. It is taken and renewed by compare and set. While a transaction checks the token the row is locked, so that
 * nobody takes over between that check and the commit; what is written elsewhere is confirmed afterwards.
 */
export class WriterLease {
  /** Grows with every taking; whoever has an older one is fenced off. */
  readonly token: number;
  readonly #options: WriterLeaseOptions;
  readonly #timer: NodeJS.Timeout;
  #isFenced = false;
  #renewing: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor(options: WriterLeaseOptions, token: number) {
    this.#options = options;
    this.token = token;
    this.#timer = setInterval(() => {
      this.#renewing ??= this.#renew().finally(() => {
        this.#renewing = undefined;
      });
    }, options.leaseMs / 3).unref();
  }

  /** Takes the lease where it is free or has expired. Throws `storage.writer-leased`. */
  static async take(options: WriterLeaseOptions): Promise<WriterLease> {
    const { queries, sql, holder, leaseMs } = options;
    const taken = await queries
      .updateTable('writer_lease')
      .set((eb) => ({ holder, token: eb('token', '+', 1), expires: later(sql, leaseMs) }))
      .where('expires', '<=', now(sql))
      .returning('token')
      .executeTakeFirst()
      .catch((error: unknown) => {
        if (isLockTimeout(error)) return undefined;
        throw explainPostgres(error) ?? error;
      });
    if (taken === undefined) throw await leased(queries);
    return new WriterLease(options, taken.token);
  }

  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** First in each writing transaction: until it ends nobody takes over. Throws `storage.fenced`. */
  async fence(writing: Transaction<PostgresTables>): Promise<void> {
    const held = await writing
      .selectFrom('writer_lease')
      .select('token')
      .where('token', '=', this.token)
      .forUpdate()
      .executeTakeFirst();
    if (held === undefined) throw this.#fenced();
  }

  /**
   * Resolves where the lease was still held at some time after the call; those who wait at once share a question.
   * Throws `storage.fenced`, and `storage.database-unreachable` where it cannot be known.
   */
  async confirm(): Promise<void> {
    if (this.#isFenced) throw this.#fenced();
    if (this.#running === undefined) {
      this.#running = this.#ask().finally(() => {
        this.#running = undefined;
      });
      return await this.#running;
    }
    // The question under way may have been answered before this call.
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.confirm();
      });
    return await this.#next;
  }

  /** Lets others take over at once; a lease that was lost is left alone. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    // On a connection of its own it could come later than what is done here, and take the lease back.
    await this.#renewing;
    const { queries, sql } = this.#options;
    await queries
      .updateTable('writer_lease')
      .set({ expires: now(sql) })
      .where('token', '=', this.token)
      .execute()
      // It expires by itself.
      .catch(() => {});
  }

  async #ask(): Promise<void> {
    const held = await this.#options.queries
      .selectFrom('writer_lease')
      .select('token')
      .where('token', '=', this.token)
      .executeTakeFirst()
      .catch((error: unknown) => {
        throw explainPostgres(error) ?? error;
      });
    if (held === undefined) throw this.#fenced();
  }

  async #renew(): Promise<void> {
    const { queries, sql, leaseMs } = this.#options;
    try {
      const renewed = await queries
        .updateTable('writer_lease')
        .set({ expires: later(sql, leaseMs) })
        .where('token', '=', this.token)
        .returning('token')
        .executeTakeFirst();
      if (renewed === undefined) this.#fenced();
    } catch {
      // Asked again soon; until then it may expire, and each write finds out by itself.
    }
  }

  #fenced(): StorageError {
    clearInterval(this.#timer);
    if (!this.#isFenced) {
      this.#isFenced = true;
      this.#options.onFenced?.();
    }
    return new StorageError('storage.fenced', `the writer's lease ${this.token} was taken over`);
  }
}

function now(sql: Sql) {
  return sql<Date>`clock_timestamp()`;
}

function later(sql: Sql, leaseMs: Milliseconds) {
  return sql<Date>`clock_timestamp() + ${leaseMs}::double precision * interval '1 millisecond'`;
}

export async function leased(queries: Queries): Promise<StorageError> {
  const row = await queries.selectFrom('writer_lease').select('holder').executeTakeFirst();
  return new StorageError(
    'storage.writer-leased',
    `the writer's lease is held by ${row?.holder ?? 'nobody'}`,
  );
}

/** 55P03: the row was locked for too long, so somebody writes under it. */
function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '55P03';
}
