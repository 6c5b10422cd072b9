import type { Pool, PoolClient } from 'pg';
import { StorageError } from './errors.ts';
import { MIGRATIONS, migrationSteps } from './migrations.ts';
import type { PostgresConfig } from './postgres-config.ts';
import { explainPostgres, openPool } from './postgres-connection.ts';

/** Two servers that start at once do this one after the other; the number is of no meaning to anybody else. */
const MIGRATION_LOCK = 4_716_218_071;

/**
 * Takes the tables forward or back to a format in one transaction. Throws `storage.migration-loses-rows`,
 * `storage.database-newer`, and `storage.writer-leased` where a server writes into them.
 */
export async function migratePostgres(config: PostgresConfig, format: number): Promise<void> {
  const pool = await openPool(config);
  try {
    await migrateIn(pool, format);
  } finally {
    await pool.end();
  }
}

/** Brings the tables to this version's format. */
export async function preparePostgres(pool: Pool): Promise<void> {
  await migrateIn(pool, MIGRATIONS.length);
}

async function migrateIn(pool: Pool, format: number): Promise<void> {
  try {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await migrate(client, format);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  } catch (error) {
    if (error instanceof StorageError) throw error;
    throw explainPostgres(error) ?? error;
  }
}

async function migrate(client: PoolClient, format: number): Promise<void> {
  await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  await client.query(
    `CREATE TABLE IF NOT EXISTS guardian_schema (
       one BOOLEAN NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (one), format INTEGER NOT NULL)`,
  );
  await client.query('INSERT INTO guardian_schema (format) VALUES (0) ON CONFLICT DO NOTHING');
  const { rows } = await client.query<{ format: number }>('SELECT format FROM guardian_schema');
  const steps = migrationSteps(rows[0]?.format ?? 0, format, 'postgres');
  if (steps.length === 0) return;
  await refuseBesideWriter(client);
  for (const step of steps) {
    for (const table of step.empty) {
      const held = await client.query(`SELECT 1 FROM ${table} LIMIT 1`);
      if (held.rows.length > 0) throw step.refusal(table);
    }
    if (step.sql !== '') await client.query(step.sql);
    await client.query('UPDATE guardian_schema SET format = $1', [step.format]);
  }
}

async function refuseBesideWriter(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(
    "SELECT to_regclass('writer_lease') IS NOT NULL AS there",
  );
  if (rows[0]?.there !== true) return;
  // Locked, so that none is taken before the tables are as they shall be.
  const held = await client.query<{ holder: string }>(
    'SELECT holder FROM writer_lease WHERE expires > clock_timestamp() FOR UPDATE',
  );
  if (held.rows.length === 0) {
    await client.query('SELECT 1 FROM writer_lease FOR UPDATE');
    return;
  }
  throw new StorageError(
    'storage.writer-leased',
    `the tables are to be changed, and ${held.rows[0]?.holder ?? 'a server'} writes into them`,
  );
}
