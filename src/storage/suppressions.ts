import type { Milliseconds } from '../base/index.ts';
import type { Connection } from './connection.ts';

/** A rule that silences notices until it expires. */
export interface SuppressionRow {
  readonly id: string;
  readonly kind?: string;
  readonly source?: string;
  readonly destination?: string;
  /** Wall time. */
  readonly untilMs: Milliseconds;
  readonly reason: string;
  readonly principal: string;
  readonly createdMs: Milliseconds;
}

export class SuppressionQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async add(row: SuppressionRow): Promise<void> {
    const { id, kind = null, source = null, destination = null, reason, principal } = row;
    const until = Math.trunc(row.untilMs);
    const created = Math.trunc(row.createdMs);
    await this.#db.write((db) =>
      db
        .insertInto('suppressions')
        .values({ id, kind, source, destination, until, reason, principal, created })
        .execute(),
    );
  }

  /** Oldest first, those that have expired included. */
  async list(): Promise<readonly SuppressionRow[]> {
    const rows = await this.#db.read((db) =>
      db.selectFrom('suppressions').selectAll().orderBy('created').orderBy('id').execute(),
    );
    return rows.map((row) => ({
      id: row.id,
      ...(row.kind !== null && { kind: row.kind }),
      ...(row.source !== null && { source: row.source }),
      ...(row.destination !== null && { destination: row.destination }),
      untilMs: Number(row.until),
      reason: row.reason,
      principal: row.principal,
      createdMs: Number(row.created),
    }));
  }

  async remove(id: string): Promise<void> {
    await this.#db.write((db) => db.deleteFrom('suppressions').where('id', '=', id).execute());
  }
}
