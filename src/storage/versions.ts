import type { Digest } from '../base/index.ts';
import { type Connection, isTextList, parseColumn, type Row } from './connection.ts';

/** One published model version; what is trusted about it comes from its signed manifest, not from this row. */
export interface VersionRow {
  readonly name: string;
  readonly version: string;
  /** Of the plaintext weights. */
  readonly digest: Digest;
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly gatesPassed: boolean;
  readonly dataKeyId: string;
  /** Index of the publish intent in the audit log. */
  readonly intent: number;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
  readonly author: string;
}

export class VersionQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Throws `storage.row-exists` where the version is there already. */
  async insert(row: VersionRow): Promise<void> {
    this.#db.write(() =>
      this.#db.run(
        `INSERT INTO versions (name, version, digest, schema_id, source_kinds, gates_passed, data_key_id, intent,
           created_at, author) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        row.name,
        row.version,
        row.digest,
        row.schemaId,
        JSON.stringify(row.sourceKinds),
        row.gatesPassed ? 1 : 0,
        row.dataKeyId,
        row.intent,
        row.createdAt,
        row.author,
      ),
    );
  }

  /** Takes back a row whose publication did not come to its end; one that is not there is no error. */
  async delete(name: string, version: string): Promise<void> {
    this.#db.write(() => this.#db.run('DELETE FROM versions WHERE name = ? AND version = ?', name, version));
  }

  async find(name: string, version: string): Promise<VersionRow | undefined> {
    const row = this.#db.first('SELECT * FROM versions WHERE name = ? AND version = ?', name, version);
    return row === undefined ? undefined : toVersion(row);
  }

  /** In order of publication; of one name, or all. */
  async list(name?: string): Promise<readonly VersionRow[]> {
    const rows =
      name === undefined
        ? this.#db.all('SELECT * FROM versions ORDER BY intent')
        : this.#db.all('SELECT * FROM versions WHERE name = ? ORDER BY intent', name);
    return rows.map(toVersion);
  }
}

function toVersion(row: Row): VersionRow {
  return {
    name: String(row.name),
    version: String(row.version),
    digest: String(row.digest) as Digest,
    schemaId: String(row.schema_id) as Digest,
    sourceKinds: parseColumn(row, 'source_kinds', isTextList),
    gatesPassed: row.gates_passed === 1,
    dataKeyId: String(row.data_key_id),
    intent: Number(row.intent),
    createdAt: String(row.created_at),
    author: String(row.author),
  };
}
