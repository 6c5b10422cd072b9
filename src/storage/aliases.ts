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
    this.#db.write(() => {
      this.#db.run(
        `INSERT INTO alias_history (intent, name, alias, version, previous, action, principal, changed_at, approvals)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        change.intent,
        change.name,
        change.alias,
        change.version,
        change.previous ?? null,
        change.action,
        change.principal,
        change.changedAt,
        JSON.stringify(change.approvals),
      );
      this.#db.run(
        `INSERT INTO aliases (name, alias, version, intent) VALUES (?, ?, ?, ?)
         ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version, intent = excluded.intent`,
        change.name,
        change.alias,
        change.version,
        change.intent,
      );
    });
  }

  async find(name: string, alias: string): Promise<AliasRow | undefined> {
    const row = this.#db.first('SELECT * FROM aliases WHERE name = ? AND alias = ?', name, alias);
    return row === undefined ? undefined : toAlias(row);
  }

  async list(name?: string): Promise<readonly AliasRow[]> {
    const rows =
      name === undefined
        ? this.#db.all('SELECT * FROM aliases ORDER BY name, alias')
        : this.#db.all('SELECT * FROM aliases WHERE name = ? ORDER BY alias', name);
    return rows.map(toAlias);
  }

  /** Oldest first. */
  async history(name: string): Promise<readonly AliasChangeRow[]> {
    return this.#db.all('SELECT * FROM alias_history WHERE name = ? ORDER BY intent', name).map(toChange);
  }

  async findChange(intent: number): Promise<AliasChangeRow | undefined> {
    const row = this.#db.first('SELECT * FROM alias_history WHERE intent = ?', intent);
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
