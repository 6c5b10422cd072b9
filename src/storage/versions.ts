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
    const values = {
      name: row.name,
      version: row.version,
      digest: row.digest,
      schema_id: row.schemaId,
      source_kinds: JSON.stringify(row.sourceKinds),
      gates_passed: row.gatesPassed ? 1 : 0,
      data_key_id: row.dataKeyId,
      intent: row.intent,
      created_at: row.createdAt,
      author: row.author,
    };
    await this.#db.write((db) => db.insertInto('versions').values(values).execute());
  }

  /** Takes back a row whose publication did not come to its end; one that is not there is no error. */
  async delete(name: string, version: string): Promise<void> {
    await this.#db.write((db) =>
      db.deleteFrom('versions').where('name', '=', name).where('version', '=', version).execute(),
    );
  }

  async find(name: string, version: string): Promise<VersionRow | undefined> {
    const row = await this.#db.read((db) =>
      db
        .selectFrom('versions')
        .selectAll()
        .where('name', '=', name)
        .where('version', '=', version)
        .executeTakeFirst(),
    );
    return row === undefined ? undefined : toVersion(row);
  }

  /** In order of publication; of one name, or all. */
  async list(name?: string): Promise<readonly VersionRow[]> {
    const rows = await this.#db.read((db) =>
      db
        .selectFrom('versions')
        .selectAll()
        .$if(name !== undefined, (query) => query.where('name', '=', name as string))
        .orderBy('intent')
        .execute(),
    );
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
