import type { SQLInputValue } from 'node:sqlite';
import type { Milliseconds } from '../base/index.ts';
import { type Connection, isRecord, parseColumn, type Row } from './connection.ts';
import { StorageError } from './errors.ts';

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

  /** Many changes in one transaction, which costs one sync of the disk instead of one each. All or none. */
  async saveDetections(
    changes: readonly { readonly activity: OutboxActivity; readonly row: DetectionRow }[],
  ): Promise<void> {
    if (changes.length === 0) return;
    this.#db.write(() => {
      for (const { activity, row } of changes) this.#save(activity, row);
    });
  }

  async findDetection(uid: string): Promise<DetectionRow | undefined> {
    const row = this.#db.first('SELECT * FROM detections WHERE uid = ?', uid);
    return row === undefined ? undefined : toDetection(row);
  }

  /** Newest first. */
  async listDetections(options: DetectionListOptions = {}): Promise<readonly DetectionRow[]> {
    const limit = Math.min(Math.max(Math.trunc(options.limit ?? 100), 0), 10_000);
    const { where, values } = condition(options);
    return this.#db
      .all(`SELECT * FROM detections${where} ORDER BY time DESC, uid DESC LIMIT ?`, ...values, limit)
      .map(toDetection);
  }

  async countDetections(filter: DetectionFilter = {}): Promise<number> {
    const { where, values } = condition(filter);
    return Number(this.#db.first(`SELECT COUNT(*) AS n FROM detections${where}`, ...values)?.n);
  }

  /** Notices after `after`, oldest first. */
  async listOutbox(
    options: { readonly after?: number; readonly limit?: number } = {},
  ): Promise<readonly OutboxRow[]> {
    return this.#db
      .all(
        'SELECT * FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?',
        options.after ?? 0,
        Math.min(Math.max(Math.trunc(options.limit ?? 100), 0), 10_000),
      )
      .map(toNotice);
  }

  /** Forgets confirmed notices. One that changed since it was listed has a new number and stays. */
  async confirmOutbox(sequences: readonly number[]): Promise<void> {
    if (sequences.length === 0) return;
    this.#db.write(() => {
      for (const sequence of sequences) this.#db.run('DELETE FROM outbox WHERE sequence = ?', sequence);
    });
  }

  #save(activity: OutboxActivity, row: DetectionRow): void {
    const body = JSON.stringify(row.detection);
    const time = Math.trunc(row.time);
    const lastSeen = Math.trunc(row.lastSeen);
    if (activity === 'create') {
      this.#db.run(
        'INSERT INTO detections (uid, time, last_seen, kind, source, body) VALUES (?, ?, ?, ?, ?, ?)',
        row.uid,
        time,
        lastSeen,
        row.kind,
        row.source,
        body,
      );
    } else {
      const changed = this.#db.run(
        'UPDATE detections SET time = ?, last_seen = ?, kind = ?, source = ?, body = ? WHERE uid = ?',
        time,
        lastSeen,
        row.kind,
        row.source,
        body,
        row.uid,
      );
      if (changed === 0) throw new StorageError('storage.row-missing', `no detection has the uid ${row.uid}`);
    }
    this.#db.run(
      'INSERT OR REPLACE INTO outbox (uid, activity, body) VALUES (?, ?, ?)',
      row.uid,
      activity,
      body,
    );
  }
}

function condition(filter: DetectionFilter): { where: string; values: SQLInputValue[] } {
  const parts: string[] = [];
  const values: SQLInputValue[] = [];
  if (filter.since !== undefined) {
    parts.push('time >= ?');
    values.push(Math.ceil(filter.since));
  }
  if (filter.kind !== undefined) {
    parts.push('kind = ?');
    values.push(filter.kind);
  }
  if (filter.source !== undefined) {
    parts.push('source = ?');
    values.push(filter.source);
  }
  return { where: parts.length === 0 ? '' : ` WHERE ${parts.join(' AND ')}`, values };
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
