import { type Connection, isTextList, parseColumn, type Row } from './connection.ts';

/** Where an alias points; `intent` is the index of the audit entry that moved it there. */
export interface AliasRow {
  readonly name: string;
  readonly alias: string;
  readonly version: string;
  readonly intent: number;
}

/** One move of an alias. */
export interface AliasChangeRow extends AliasRow {
  /** The version before the move; absent at the first. */
  readonly previous?: string;
  readonly action: 'promote' | 'rollback';
  readonly principal: string;
  /** RFC 3339 UTC. */
  readonly changedAt: string;
  /** Who approved, one principal each. */
  readonly approvals: readonly string[];
}

export class AliasQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Moves the alias and appends to its history in one transaction. */
  async move(change: AliasChangeRow): Promise<void> {
    const { name, alias, version, intent } = change;
    await this.#db.write(async (db) => {
      await db
        .insertInto('alias_history')
        .values({
          ...{ intent, name, alias, version },
          previous: change.previous ?? null,
          action: change.action,
          principal: change.principal,
          changed_at: change.changedAt,
          approvals: JSON.stringify(change.approvals),
        })
        .execute();
      await db
        .insertInto('aliases')
        .values({ name, alias, version, intent })
        .onConflict((conflict) => conflict.columns(['name', 'alias']).doUpdateSet({ version, intent }))
        .execute();
    });
  }

  async find(name: string, alias: string): Promise<AliasRow | undefined> {
    const row = await this.#db.read((db) =>
      db
        .selectFrom('aliases')
        .selectAll()
        .where('name', '=', name)
        .where('alias', '=', alias)
        .executeTakeFirst(),
    );
    return row === undefined ? undefined : toAlias(row);
  }

  async list(name?: string): Promise<readonly AliasRow[]> {
    const rows = await this.#db.read((db) =>
      db
        .selectFrom('aliases')
        .selectAll()
        .$if(name !== undefined, (query) => query.where('name', '=', name as string))
        .orderBy('name')
        .orderBy('alias')
        .execute(),
    );
    return rows.map(toAlias);
  }

  /** Oldest first. */
  async history(name: string): Promise<readonly AliasChangeRow[]> {
    const rows = await this.#db.read((db) =>
      db.selectFrom('alias_history').selectAll().where('name', '=', name).orderBy('intent').execute(),
    );
    return rows.map(toChange);
  }

  async findChange(intent: number): Promise<AliasChangeRow | undefined> {
    const row = await this.#db.read((db) =>
      db.selectFrom('alias_history').selectAll().where('intent', '=', intent).executeTakeFirst(),
    );
    return row === undefined ? undefined : toChange(row);
  }
}

function toAlias(row: Row): AliasRow {
  return {
    name: String(row.name),
    alias: String(row.alias),
    version: String(row.version),
    intent: Number(row.intent),
  };
}

function toChange(row: Row): AliasChangeRow {
  return {
    ...toAlias(row),
    ...(row.previous === null ? {} : { previous: String(row.previous) }),
    action: row.action === 'rollback' ? 'rollback' : 'promote',
    principal: String(row.principal),
    changedAt: String(row.changed_at),
    approvals: parseColumn(row, 'approvals', isTextList),
  };
}
