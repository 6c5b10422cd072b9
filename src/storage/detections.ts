import type { SelectQueryBuilder } from 'kysely';
import type { Milliseconds } from '../base/index.ts';
import { type Connection, isRecord, parseColumn, type Row } from './connection.ts';
import { StorageError } from './errors.ts';
import { type EventResultRow, insertEventResults } from './event-results.ts';
import type { Tables, Writing } from './tables.ts';

/** A detection as it is kept: the whole of it as JSON, and beside it what is searched for. */
export interface DetectionRow {
  readonly uid: string;
  /** When it was raised, wall time. */
  readonly time: Milliseconds;
  readonly lastSeen: Milliseconds;
  readonly kind: string;
  /** The source's address, canonical text. */
  readonly source: string;
  /** The detection itself; any JSON object, kept as it is. */
  readonly detection: Readonly<Record<string, unknown>>;
}

export interface DetectionFilter {
  /** Only those raised at this time or later. */
  readonly since?: Milliseconds;
  readonly kind?: string;
  readonly source?: string;
}

export interface DetectionListOptions extends DetectionFilter {
  /** The newest so many; default 100, at most 10,000. */
  readonly limit?: number;
}

export type OutboxActivity = 'create' | 'update' | 'close';

/** A notice that no sink has confirmed yet. */
export interface OutboxRow {
  /** Grows; a later state of the same notice gets a new number. */
  readonly sequence: number;
  readonly uid: string;
  readonly activity: OutboxActivity;
  readonly detection: Readonly<Record<string, unknown>>;
}

/**
 * Detections and their outbox. A change and its notice are one transaction, so a notice is neither lost nor sent
 * for what was not kept. At most one notice waits for each detection and activity: the later state replaces it.
 */
export class DetectionQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Throws `storage.row-exists`. */
  async insertDetection(row: DetectionRow): Promise<void> {
    await this.saveDetections([{ activity: 'create', row }]);
  }

  /** Throws `storage.row-missing`. */
  async updateDetection(row: DetectionRow, activity: 'update' | 'close' = 'update'): Promise<void> {
    await this.saveDetections([{ activity, row }]);
  }

  /**
   * Many changes in one transaction, which costs one sync of the disk instead of one each, and with them the results of
   * the events they come from. All or none.
   */
  async saveDetections(
    changes: readonly { readonly activity: OutboxActivity; readonly row: DetectionRow }[],
    results: readonly EventResultRow[] = [],
  ): Promise<void> {
    if (changes.length === 0 && results.length === 0) return;
    await this.#db.write(async (db) => {
      await insertEventResults(db, results);
      for (const batch of batchesOf(changes)) await saveBatch(db, batch);
    });
  }

  async findDetection(uid: string): Promise<DetectionRow | undefined> {
    const row = await this.#db.read((db) =>
      db.selectFrom('detections').selectAll().where('uid', '=', uid).executeTakeFirst(),
    );
    return row === undefined ? undefined : toDetection(row);
  }

  /** Newest first. */
  async listDetections(options: DetectionListOptions = {}): Promise<readonly DetectionRow[]> {
    const rows = await this.#db.read((db) =>
      matching(db.selectFrom('detections'), options)
        .selectAll()
        .orderBy('time', 'desc')
        .orderBy('uid', 'desc')
        .limit(limitOf(options))
        .execute(),
    );
    return rows.map(toDetection);
  }

  async countDetections(filter: DetectionFilter = {}): Promise<number> {
    const row = await this.#db.read((db) =>
      matching(db.selectFrom('detections'), filter)
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .executeTakeFirst(),
    );
    return Number(row?.n);
  }

  /** Notices after `after`, oldest first. */
  async listOutbox(
    options: { readonly after?: number; readonly limit?: number } = {},
  ): Promise<readonly OutboxRow[]> {
    const rows = await this.#db.read((db) =>
      db
        .selectFrom('outbox')
        .selectAll()
        .where('sequence', '>', options.after ?? 0)
        .orderBy('sequence')
        .limit(limitOf(options))
        .execute(),
    );
    return rows.map(toNotice);
  }

  /** How many notices wait after a number. */
  async countOutbox(after: number): Promise<number> {
    const row = await this.#db.read((db) =>
      db
        .selectFrom('outbox')
        .select((eb) => eb.fn.countAll().as('count'))
        .where('sequence', '>', after)
        .executeTakeFirst(),
    );
    return Number(row?.count ?? 0);
  }

  /** Number of the newest notice that waits; 0 where none does. */
  async lastNotice(): Promise<number> {
    const row = await this.#db.read((db) =>
      db
        .selectFrom('outbox')
        .select((eb) => eb.fn.max('sequence').as('last'))
        .executeTakeFirst(),
    );
    return Number(row?.last ?? 0);
  }

  /** Forgets notices up to and with this number: every sink has them. */
  async forgetNotices(upTo: number): Promise<void> {
    await this.#db.write((db) => db.deleteFrom('outbox').where('sequence', '<=', upTo).execute());
  }

  /** Forgets confirmed notices. One that changed since it was listed has a new number and stays. */
  async confirmOutbox(sequences: readonly number[]): Promise<void> {
    if (sequences.length === 0) return;
    await this.#db.write(async (db) => {
      for (let at = 0; at < sequences.length; at += MAX_BATCH) {
        await db
          .deleteFrom('outbox')
          .where('sequence', 'in', sequences.slice(at, at + MAX_BATCH))
          .execute();
      }
    });
  }
}

interface Change {
  readonly activity: OutboxActivity;
  readonly row: DetectionRow;
}

/** Rows of one statement; six values each, far below what either database binds. */
const MAX_BATCH = 250;

/** Cuts changes, in their order, into runs of one activity that name no detection twice. */
function batchesOf(changes: readonly Change[]): readonly (readonly Change[])[] {
  const batches: Change[][] = [];
  const uids = new Set<string>();
  for (const change of changes) {
    const last = batches.at(-1);
    const fits =
      last !== undefined &&
      last.length < MAX_BATCH &&
      last[0]?.activity === change.activity &&
      !uids.has(change.row.uid);
    if (fits) last.push(change);
    else {
      uids.clear();
      batches.push([change]);
    }
    uids.add(change.row.uid);
  }
  return batches;
}

async function saveBatch(db: Writing, batch: readonly Change[]): Promise<void> {
  const activity = batch[0]?.activity ?? 'create';
  const uids = batch.map(({ row }) => row.uid);
  const bodies = batch.map(({ row }) => JSON.stringify(row.detection));
  const rows = batch.map(({ row }, i) => ({
    uid: row.uid,
    time: Math.trunc(row.time),
    last_seen: Math.trunc(row.lastSeen),
    kind: row.kind,
    source: row.source,
    body: bodies[i] as string,
  }));
  const insert = db.insertInto('detections').values(rows);
  if (activity === 'create') await insert.execute();
  else {
    await expectAll(db, uids);
    await insert
      .onConflict((conflict) =>
        conflict.column('uid').doUpdateSet((eb) => ({
          time: eb.ref('excluded.time'),
          last_seen: eb.ref('excluded.last_seen'),
          kind: eb.ref('excluded.kind'),
          source: eb.ref('excluded.source'),
          body: eb.ref('excluded.body'),
        })),
      )
      .execute();
  }
  // Removed and inserted instead of changed: the later state gets a new number.
  await db.deleteFrom('outbox').where('uid', 'in', uids).where('activity', '=', activity).execute();
  await db
    .insertInto('outbox')
    .values(uids.map((uid, i) => ({ uid, activity, body: bodies[i] as string })))
    .execute();
}

async function expectAll(db: Writing, uids: readonly string[]): Promise<void> {
  const found = await db.selectFrom('detections').select('uid').where('uid', 'in', uids).execute();
  if (found.length === uids.length) return;
  const known = new Set(found.map(({ uid }) => uid));
  const missing = uids.find((uid) => !known.has(uid)) ?? '';
  throw new StorageError('storage.row-missing', `no detection has the uid ${missing}`);
}

function limitOf({ limit = 100 }: { readonly limit?: number }): number {
  return Math.min(Math.max(Math.trunc(limit), 0), 10_000);
}

function matching<O>(
  query: SelectQueryBuilder<Tables, 'detections', O>,
  { since, kind, source }: DetectionFilter,
): SelectQueryBuilder<Tables, 'detections', O> {
  let narrowed = query;
  if (since !== undefined) narrowed = narrowed.where('time', '>=', Math.ceil(since));
  if (kind !== undefined) narrowed = narrowed.where('kind', '=', kind);
  if (source !== undefined) narrowed = narrowed.where('source', '=', source);
  return narrowed;
}

function toDetection(row: Row): DetectionRow {
  return {
    uid: String(row.uid),
    time: Number(row.time),
    lastSeen: Number(row.last_seen),
    kind: String(row.kind),
    source: String(row.source),
    detection: parseColumn(row, 'body', isRecord),
  };
}

function toNotice(row: Row): OutboxRow {
  return {
    sequence: Number(row.sequence),
    uid: String(row.uid),
    activity: String(row.activity) as OutboxActivity,
    detection: parseColumn(row, 'body', isRecord),
  };
}
