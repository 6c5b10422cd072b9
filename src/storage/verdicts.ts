import type { Milliseconds } from '../base/index.ts';
import type { Connection } from './connection.ts';

/** What an analyst said of a detection, and what was said of it before is in the audit log. */
export interface VerdictRow {
  readonly uid: string;
  readonly verdict: 'true' | 'benign-trigger' | 'false';
  readonly note: string;
  readonly principal: string;
  /** Wall time. */
  readonly time: Milliseconds;
  /** Of the detection when it was judged. */
  readonly kind: string;
  /** `name@version` that raised it. */
  readonly model: string;
}

export interface VerdictCount {
  readonly model: string;
  readonly verdict: VerdictRow['verdict'];
  readonly count: number;
}

/** Rows that one statement asks for. */
const MAX_UIDS = 500;

/** Analysts' verdicts: the last one of each detection. */
export class VerdictQueries {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  /** Replaces an earlier verdict on the same detection. */
  async set(row: VerdictRow): Promise<void> {
    const { uid, ...rest } = { ...row, time: Math.trunc(row.time) };
    await this.#db.write((db) =>
      db
        .insertInto('verdicts')
        .values({ uid, ...rest })
        .onConflict((conflict) => conflict.column('uid').doUpdateSet(rest))
        .execute(),
    );
  }

  async find(uid: string): Promise<VerdictRow | undefined> {
    return (await this.findAll([uid])).get(uid);
  }

  /** By uid; those without a verdict are left out. */
  async findAll(uids: readonly string[]): Promise<ReadonlyMap<string, VerdictRow>> {
    const found = new Map<string, VerdictRow>();
    for (let at = 0; at < uids.length; at += MAX_UIDS) {
      const some = uids.slice(at, at + MAX_UIDS);
      const rows = await this.#db.read((db) =>
        db.selectFrom('verdicts').selectAll().where('uid', 'in', some).execute(),
      );
      for (const row of rows) found.set(row.uid, toVerdict(row));
    }
    return found;
  }

  /** Oldest first, after the one that ended the page before. */
  async list(
    options: { readonly after?: Pick<VerdictRow, 'time' | 'uid'>; readonly limit?: number } = {},
  ): Promise<readonly VerdictRow[]> {
    const { after, limit = 1_000 } = options;
    const rows = await this.#db.read((db) => {
      let query = db.selectFrom('verdicts').selectAll();
      if (after !== undefined) {
        query = query.where((eb) =>
          eb.or([
            eb('time', '>', after.time),
            eb.and([eb('time', '=', after.time), eb('uid', '>', after.uid)]),
          ]),
        );
      }
      return query.orderBy('time').orderBy('uid').limit(limit).execute();
    });
    return rows.map(toVerdict);
  }

  /** How often each verdict was given, by model. */
  async count(): Promise<readonly VerdictCount[]> {
    const rows = await this.#db.read((db) =>
      db
        .selectFrom('verdicts')
        .select(['model', 'verdict', (eb) => eb.fn.countAll<number>().as('n')])
        .groupBy(['model', 'verdict'])
        .orderBy('model')
        .orderBy('verdict')
        .execute(),
    );
    return rows.map(({ model, verdict, n }) => ({
      model,
      verdict: verdict as VerdictRow['verdict'],
      count: Number(n),
    }));
  }
}

function toVerdict(row: Omit<VerdictRow, 'verdict'> & { readonly verdict: string }): VerdictRow {
  const { uid, note, principal, kind, model } = row;
  return {
    ...{ uid, note, principal, kind, model },
    verdict: row.verdict as VerdictRow['verdict'],
    time: Number(row.time),
  };
}
