import { type Connection, parseColumn } from './connection.ts';

/** Small named values that outlive a restart; JSON, nothing secret. */
export class SettingQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async get(key: string): Promise<unknown> {
    const row = await this.#db.read((db) =>
      db.selectFrom('settings').select('value').where('key', '=', key).executeTakeFirst(),
    );
    return row === undefined
      ? undefined
      : parseColumn(row, 'value', (value): value is unknown => value !== undefined);
  }

  /** `undefined` removes it. */
  async set(key: string, value: unknown): Promise<void> {
    await this.#db.write(async (db) => {
      if (value === undefined) {
        await db.deleteFrom('settings').where('key', '=', key).execute();
        return;
      }
      const text = JSON.stringify(value);
      await db
        .insertInto('settings')
        .values({ key, value: text })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: text }))
        .execute();
    });
  }
}
