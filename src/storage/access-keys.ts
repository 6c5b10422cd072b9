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
    this.#db.write(() =>
      this.#db.run(
        `INSERT INTO access_keys (id, sha256, principal, roles, created, expires, revoked)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
        row.id,
        row.sha256,
        row.principal,
        JSON.stringify(row.roles),
        Math.trunc(row.createdAt),
        row.expiresAt === undefined ? null : Math.trunc(row.expiresAt),
        row.revokedAt === undefined ? null : Math.trunc(row.revokedAt),
      ),
    );
  }

  /** Finds revoked and expired keys too: the caller tells them apart in its refusal. */
  async findAccessKey(id: string): Promise<AccessKeyRow | undefined> {
    const row = this.#db.first('SELECT * FROM access_keys WHERE id = ?', id);
    return row === undefined ? undefined : toAccessKey(row);
  }

  /** Every row of a principal, revoked and expired ones too; oldest first. */
  async findAccessKeysOf(principal: string): Promise<readonly AccessKeyRow[]> {
    return this.#db
      .all('SELECT * FROM access_keys WHERE principal = ? ORDER BY created, id', principal)
      .map(toAccessKey);
  }

  /** Oldest first. */
  async listAccessKeys(): Promise<readonly AccessKeyRow[]> {
    return this.#db.all('SELECT * FROM access_keys ORDER BY created, id').map(toAccessKey);
  }

  /** Revokes for good; the first time stays. Throws `storage.row-missing`. */
  async revokeAccessKey(id: string, at: Milliseconds): Promise<void> {
    const changed = this.#db.write(() =>
      this.#db.run('UPDATE access_keys SET revoked = COALESCE(revoked, ?) WHERE id = ?', Math.trunc(at), id),
    );
    if (changed === 0) throw new StorageError('storage.row-missing', `no access key has the id ${id}`);
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
