import { readFileSync } from 'node:fs';
import { constants, open } from 'node:fs/promises';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import type { Kysely } from 'kysely';
import type { Pool, PoolConfig } from 'pg';
import { StorageError } from './errors.ts';
import type { PostgresConfig, PostgresPlace } from './postgres-config.ts';
import { parsePostgresUrl } from './postgres-config.ts';
import type { Tables } from './tables.ts';

/** The one row of the lease, beside the tables that both databases have. */
export interface PostgresTables extends Tables {
  writer_lease: { one: boolean; holder: string; token: number; expires: Date };
}

const POOL_SIZE = 4;
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 60_000;
/** A row that is locked for longer is taken for in use. */
const LOCK_TIMEOUT_MS = 10_000;
const MAX_PASSWORD_BYTES = 1_024;
const DURABLE = `SELECT set_config('synchronous_commit', 'on', false)
  WHERE current_setting('synchronous_commit') = 'off'`;
/** The type int8: counts and times here are below 2^53. */
const INT8 = 20;

/** A pool whose connections are encrypted unless they stay on this machine. `pg` is loaded here and nowhere else. */
export async function openPool(config: PostgresConfig): Promise<Pool> {
  const place = parsePostgresUrl(config.url ?? '');
  if (place === undefined) {
    throw new StorageError(
      'storage.database-unreachable',
      'expected storage.postgres.url to say where it is',
    );
  }
  const { default: pg } = await import('pg');
  const pool = new pg.Pool(poolOptions(place, config, pg.types));
  // A connection that ends while nobody uses it: the next query takes another one.
  pool.on('error', () => {});
  // One that is in use and is ended between two queries, as after a stop: the second of them says so.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

export async function openKysely(pool: Pool): Promise<Kysely<PostgresTables>> {
  const { CompiledQuery, Kysely, PostgresDialect } = await import('kysely');
  const dialect = new PostgresDialect({
    pool,
    // What is committed is on the disk, also where the server's default is to answer before.
    onCreateConnection: async (connection) => {
      await connection.executeQuery(CompiledQuery.raw(DURABLE));
    },
  });
  return new Kysely<PostgresTables>({ dialect });
}

/** Every setting is given, so that none is taken from PG* variables or ~/.pgpass. */
function poolOptions(
  place: PostgresPlace,
  { passwordFile, caFile, leaseMs }: PostgresConfig,
  types: typeof import('pg').types,
): PoolConfig {
  const { host, port, database, user } = place;
  return {
    ...{ host, port, database, user, max: POOL_SIZE },
    password: () => (passwordFile === null ? '' : readPassword(passwordFile)),
    ssl: place.isElsewhere || caFile !== null ? tlsOptions(host, caFile) : false,
    enableChannelBinding: true,
    application_name: 'ai-guardian',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    // A writer that was stopped in the middle of a transaction must not hold the lease's row for longer than the lease.
    idle_in_transaction_session_timeout: leaseMs,
    options: '-c default_transaction_isolation=read\\ committed',
    types: {
      getTypeParser: ((oid: number, format: 'text') =>
        oid === INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
    },
  };
}

function tlsOptions(host: string, caFile: string | null): ConnectionOptions {
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    // By the name that was configured: without it a bare address would be checked against `localhost`.
    checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate),
    ...(caFile !== null && { ca: readFileSync(caFile) }),
  };
}

/** Throws `storage.password-unsafe`. */
async function readPassword(path: string): Promise<string> {
  const unsafe = (says: string, cause?: unknown) =>
    new StorageError('storage.password-unsafe', `${says} in ${path}`, { cause });
  const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch((cause: unknown) => {
    throw unsafe('expected a password', cause);
  });
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0) throw unsafe(`expected mode 600, got ${(mode & 0o777).toString(8)}`);
    if (size === 0 || size > MAX_PASSWORD_BYTES) throw unsafe(`expected 1 to ${MAX_PASSWORD_BYTES} bytes`);
    return (await file.readFile('utf8')).replace(/\r?\n$/, '');
  } finally {
    await file.close();
  }
}

/** What an error of `pg` means, by its SQLSTATE; one without a code comes from the socket. */
export function explainPostgres(cause: unknown): StorageError | undefined {
  if (!(cause instanceof Error) || cause instanceof TypeError) return undefined;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (code === '23503') {
    return new StorageError('storage.row-missing', 'the row points to one that is not there', { cause });
  }
  if (code.startsWith('23')) {
    return new StorageError('storage.row-exists', 'the row contradicts one that is there', { cause });
  }
  if (code.startsWith('28') || /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code)) {
    return new StorageError(
      'storage.database-refused',
      `PostgreSQL or its certificate was refused (${code})`,
      {
        cause,
      },
    );
  }
  // 25P03: the transaction idled for too long; 57P0x: it was shut down; 08: the connection.
  if (/^(08|57P0|53|25P0[34]|E[A-Z]+$)/.test(code) || /connection|timeout|SSL/i.test(cause.message)) {
    const says = `PostgreSQL does not answer (${code === '' ? 'connection' : code})`;
    return new StorageError('storage.database-unreachable', says, { cause });
  }
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return new StorageError('storage.database-failed', `the query failed (${code})`, { cause });
  }
  return undefined;
}
