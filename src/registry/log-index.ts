import { z } from 'zod';
import type { AuditEntry, AuditLog } from '../audit/index.ts';
import type { Digest } from '../base/index.ts';
import { digestField } from './gate-report.ts';
import { isName, isVersion } from './names.ts';

export const PUBLISH = 'model.publish';
export const PROMOTE = 'model.promote';
export const ROLLBACK = 'model.rollback';

/** What a publish intent says; the database's row must say the same. */
export interface Publication {
  readonly intent: number;
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly schemaId: Digest;
  readonly gatesPassed: boolean;
  readonly dataKeyId: string;
  /** Of the database's whole row, its intent aside. */
  readonly rowDigest: Digest;
}

/** What a promote or rollback intent says. */
export interface AliasMove {
  readonly intent: number;
  readonly name: string;
  readonly alias: string;
  readonly version: string;
  readonly previous: string | undefined;
  readonly action: 'promote' | 'rollback';
  readonly principal: string;
  readonly time: string;
  readonly approvals: readonly string[];
}

/** The fields of an intent's detail, as the registry writes them. */
const PUBLISH_DETAIL = z.object({
  digest: digestField,
  manifestDigest: digestField,
  schemaId: digestField,
  gatesPassed: z.boolean(),
  dataKeyId: z.string(),
  rowDigest: digestField,
});
const MOVE_DETAIL = z.object({
  alias: z.string().refine(isName),
  previous: z.union([z.null(), z.string().refine(isVersion)]),
  approvals: z.array(z.string()),
});

/**
 * What the audit log says was published and where aliases point. The log decides; the database is believed only where
 * it agrees. Read once at the start, then kept up with `catchUp`.
 */
export class LogIndex {
  readonly #log: AuditLog;
  readonly #publications = new Map<string, Publication>();
  readonly #unfinished: Publication[] = [];
  readonly #moves = new Map<string, AliasMove[]>();
  readonly #openPublications = new Map<number, Publication>();
  readonly #openMoves = new Map<number, AliasMove>();
  #read = 0;

  constructor(log: AuditLog) {
    this.#log = log;
  }

  /** Reads what was appended since the last call. */
  async catchUp(): Promise<void> {
    const to = this.#log.size;
    if (to <= this.#read) return;
    for await (const { index, entry } of this.#log.entries(this.#read, to)) {
      this.#add(index, entry);
      this.#read = index + 1;
    }
  }

  publication(name: string, version: string): Publication | undefined {
    return this.#publications.get(`${name}@${version}`);
  }

  versions(name: string): readonly string[] {
    return [...this.#publications.values()].filter((each) => each.name === name).map((each) => each.version);
  }

  /** Publications that failed or were cut short; their files are to be removed. */
  get unfinished(): readonly Publication[] {
    return this.#unfinished;
  }

  /** Every done move of one alias, oldest first. */
  moves(name: string, alias: string): readonly AliasMove[] {
    return this.#moves.get(`${name}@${alias}`) ?? [];
  }

  /** Every done move of every alias of a model, oldest first. */
  allMoves(name: string): readonly AliasMove[] {
    return [...this.#moves.values()]
      .flat()
      .filter((move) => move.name === name)
      .sort((a, b) => a.intent - b.intent);
  }

  /** The latest move of each alias of a model. */
  pointers(name: string): readonly AliasMove[] {
    return [...this.#moves.values()].flatMap((moves) => moves.slice(-1)).filter((move) => move.name === name);
  }

  #add(index: number, entry: AuditEntry): void {
    if (entry.kind === 'intent') {
      const [name = '', version = ''] = entry.subject.split('@');
      if (!isName(name) || !isVersion(version)) return;
      if (entry.action === PUBLISH) {
        const detail = PUBLISH_DETAIL.safeParse(entry.detail);
        if (detail.success)
          this.#openPublications.set(index, { intent: index, name, version, ...detail.data });
      } else if (entry.action === PROMOTE || entry.action === ROLLBACK) {
        const detail = MOVE_DETAIL.safeParse(entry.detail);
        if (!detail.success) return;
        this.#openMoves.set(index, {
          intent: index,
          name,
          version,
          alias: detail.data.alias,
          previous: detail.data.previous ?? undefined,
          action: entry.action === PROMOTE ? 'promote' : 'rollback',
          principal: entry.principal,
          time: entry.time,
          approvals: detail.data.approvals,
        });
      }
    } else if (entry.kind === 'outcome' && entry.intent !== undefined) {
      this.#settle(entry.intent, entry.result === 'done');
    }
  }

  #settle(intent: number, isDone: boolean): void {
    const publication = this.#openPublications.get(intent);
    if (publication !== undefined) {
      this.#openPublications.delete(intent);
      if (isDone) this.#publications.set(`${publication.name}@${publication.version}`, publication);
      else this.#unfinished.push(publication);
    }
    const move = this.#openMoves.get(intent);
    if (move !== undefined) {
      this.#openMoves.delete(intent);
      const key = `${move.name}@${move.alias}`;
      if (isDone) this.#moves.set(key, [...(this.#moves.get(key) ?? []), move]);
    }
  }
}
