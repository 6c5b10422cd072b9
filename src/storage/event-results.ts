import type { Milliseconds } from '../base/index.ts';
import { type Connection, isRecord, parseColumn } from './connection.ts';
import type { Writing } from './tables.ts';

/** What a queued event came to: one row an event, written with the detections it raised or not at all. */
export interface EventResultRow {
  /** Of the event. */
  readonly id: string;
  /** When it was stored, wall time. */
  readonly time: Milliseconds;
  /** Any JSON object, kept as it is. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Rows that one statement asks for or writes. */
const MAX_BATCH = 250;

/** Results of queued events. `DetectionQueries.saveDetections` writes them, in the transaction of their detections. */
export class EventResultQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  async find(id: string): Promise<EventResultRow | undefined> {
    const row = await this.#db.read((db) =>
      db.selectFrom('event_results').selectAll().where('id', '=', id).executeTakeFirst(),
    );
    if (row === undefined) return undefined;
    return { id: row.id, time: Number(row.time), body: parseColumn(row, 'body', isRecord) };
  }

  /** Which of these events have a result. */
  async findStored(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const stored = new Set<string>();
    for (let at = 0; at < ids.length; at += MAX_BATCH) {
      const some = ids.slice(at, at + MAX_BATCH);
      const rows = await this.#db.read((db) =>
        db.selectFrom('event_results').select('id').where('id', 'in', some).execute(),
      );
      for (const { id } of rows) stored.add(id);
    }
    return stored;
  }

  async count(): Promise<number> {
    const row = await this.#db.read((db) =>
      db
        .selectFrom('event_results')
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .executeTakeFirst(),
    );
    return Number(row?.n);
  }

  /** Forgets results stored before this time. */
  async forgetBefore(time: Milliseconds): Promise<void> {
    await this.#db.write((db) =>
      db.deleteFrom('event_results').where('time', '<', Math.trunc(time)).execute(),
    );
  }
}

/** Writes results within a transaction. A second one of an event contradicts the first: `storage.row-exists`. */
export async function insertEventResults(db: Writing, rows: readonly EventResultRow[]): Promise<void> {
  for (let at = 0; at < rows.length; at += MAX_BATCH) {
    const values = rows
      .slice(at, at + MAX_BATCH)
      .map(({ id, time, body }) => ({ id, time: Math.trunc(time), body: JSON.stringify(body) }));
    await db.insertInto('event_results').values(values).execute();
  }
}
