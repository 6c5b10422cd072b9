import type { Milliseconds } from '../base/index.ts';
import { type Connection, isTextList, parseColumn, type Row } from './connection.ts';
import { StorageError } from './errors.ts';

/** An API key as it is kept: the digest of its secret, never the secret. */
export interface AccessKeyRow {
  readonly id: string;
  /** Lowercase hexadecimal SHA-256 of the whole key text. */
  readonly sha256: string;
  /** Who acts with it; stands in the audit log. */
  readonly principal: string;
  readonly roles: readonly string[];
  readonly createdAt: Milliseconds;
  /** Absent: does not expire. */
  readonly expiresAt?: Milliseconds;
  readonly revokedAt?: Milliseconds;
}

export class AccessKeyQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Throws `storage.row-exists`. */
  async addAccessKey(row: AccessKeyRow): Promise<void> {
    const values = {
      id: row.id,
      sha256: row.sha256,
      principal: row.principal,
      roles: JSON.stringify(row.roles),
      created: Math.trunc(row.createdAt),
      expires: row.expiresAt === undefined ? null : Math.trunc(row.expiresAt),
      revoked: row.revokedAt === undefined ? null : Math.trunc(row.revokedAt),
    };
    await this.#db.write((db) => db.insertInto('access_keys').values(values).execute());
  }

  /** Finds revoked and expired keys too: the caller tells them apart in its refusal. */
  async findAccessKey(id: string): Promise<AccessKeyRow | undefined> {
    const row = await this.#db.read((db) =>
      db.selectFrom('access_keys').selectAll().where('id', '=', id).executeTakeFirst(),
    );
    return row === undefined ? undefined : toAccessKey(row);
  }

  /** Every row of a principal, revoked and expired ones too; oldest first. */
  async findAccessKeysOf(principal: string): Promise<readonly AccessKeyRow[]> {
    const rows = await this.#db.read((db) =>
      db
        .selectFrom('access_keys')
        .selectAll()
        .where('principal', '=', principal)
        .orderBy('created')
        .orderBy('id')
        .execute(),
    );
    return rows.map(toAccessKey);
  }

  /** Oldest first. */
  async listAccessKeys(): Promise<readonly AccessKeyRow[]> {
    const rows = await this.#db.read((db) =>
      db.selectFrom('access_keys').selectAll().orderBy('created').orderBy('id').execute(),
    );
    return rows.map(toAccessKey);
  }

  /** Revokes for good; the first time stays. Throws `storage.row-missing`. */
  async revokeAccessKey(id: string, at: Milliseconds): Promise<void> {
    await this.#db.write(async (db) => {
      const found = await db.selectFrom('access_keys').select('id').where('id', '=', id).executeTakeFirst();
      if (found === undefined) {
        throw new StorageError('storage.row-missing', `no access key has the id ${id}`);
      }
      await db
        .updateTable('access_keys')
        .set({ revoked: Math.trunc(at) })
        .where('id', '=', id)
        .where('revoked', 'is', null)
        .execute();
    });
  }
}

function toAccessKey(row: Row): AccessKeyRow {
  return {
    id: String(row.id),
    sha256: String(row.sha256),
    principal: String(row.principal),
    roles: parseColumn(row, 'roles', isTextList),
    createdAt: Number(row.created),
    ...(row.expires === null ? {} : { expiresAt: Number(row.expires) }),
    ...(row.revoked === null ? {} : { revokedAt: Number(row.revoked) }),
  };
}
