import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { Connection } from './connection.ts';
import { type Database, databaseOver } from './database.ts';
import type { PostgresConfig } from './postgres-config.ts';
import { explainPostgres, openKysely, openPool, type PostgresTables } from './postgres-connection.ts';
import { fencedWraps } from './postgres-fence.ts';
import { WriterLease } from './postgres-lease.ts';
import { preparePostgres } from './postgres-migrate.ts';
import type { Queries } from './tables.ts';
import { openWrapStore } from './wraps.ts';

export interface PostgresDatabaseOptions {
  readonly config: PostgresConfig;
  /** Where the wraps of the data keys are; they are files, as with SQLite. */
  readonly wrapsFolder: string;
  readonly onFenced?: (() => void) | undefined;
}

/** A database whose every change is made under the lease of the one writer. */
export interface LeasedDatabase extends Database {
  readonly lease: WriterLease;
}

/**
 * Brings the tables up to date, takes the lease, and opens the same query sets as SQLite has. `close` gives the lease
 * back. Throws `storage.writer-leased` where another server has it, `storage.database-unreachable`,
 * `storage.database-refused`, `storage.password-unsafe`, `storage.database-newer`; each write `storage.fenced` from
 * when another server has taken over.
 */
export async function openPostgresDatabase(options: PostgresDatabaseOptions): Promise<LeasedDatabase> {
  const { config, onFenced } = options;
  const pool = await openPool(config);
  const { sql } = await import('kysely');
  const queries = await openKysely(pool);
  try {
    await preparePostgres(pool);
    const holder = `${hostname()}:${process.pid}:${randomBytes(4).toString('hex')}`;
    const lease = await WriterLease.take({ queries, sql, holder, leaseMs: config.leaseMs, onFenced });
    const connection = new Connection({
      // The tables of the lease are known to the lease alone.
      queries: queries as unknown as Queries,
      fence: (writing) => lease.fence(writing as unknown as import('kysely').Transaction<PostgresTables>),
      explain: explainPostgres,
    });
    const wraps = fencedWraps(await openWrapStore(options.wrapsFolder), lease);
    const database = databaseOver(connection, wraps);
    return {
      ...database,
      lease,
      close: async () => {
        await lease.release();
        await database.close();
      },
    };
  } catch (error) {
    // Ends the pool too where a query was asked; else it would be left.
    await queries.destroy();
    if (!pool.ended) await pool.end();
    throw error;
  }
}
