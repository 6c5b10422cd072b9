import { type Connection, parseColumn } from './connection.ts';

/** Small named values that outlive a restart; JSON, nothing secret. */
export class SettingQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(key: string): Promise<unknown> {
    const row = this.#db.first('SELECT value FROM settings WHERE key = ?', key);
    return row === undefined
      ? undefined
      : parseColumn(row, 'value', (value): value is unknown => value !== undefined);
  }

  /** `undefined` removes it. */
  async set(key: string, value: unknown): Promise<void> {
    this.#db.write(() => {
      if (value === undefined) this.#db.run('DELETE FROM settings WHERE key = ?', key);
      else
        this.#db.run(
          'INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)',
          key,
          JSON.stringify(value),
        );
    });
  }
}
