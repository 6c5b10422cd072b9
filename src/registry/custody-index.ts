import { z } from 'zod';
import type { AuditEntry } from '../audit/index.ts';
import type { Digest } from '../base/index.ts';
import { digestField, timeField } from './gate-report.ts';
import { isName, isVersion } from './names.ts';

export const TAG = 'model.tag';
export const HOLD = 'model.hold';
export const RELEASE = 'model.release';
export const ERASE = 'model.erase';
export const PRUNE = 'model.prune';
export const ERASE_COMPLETE = 'model.erase-complete';
export const ESCROW = 'registry.escrow';

/** Keeps a version from being pruned or erased. */
export interface Hold {
  /** Index of its intent in the audit log. */
  readonly id: number;
  readonly reason: string;
  readonly principal: string;
  readonly time: string;
  /** Ends by itself then. */
  readonly until?: string;
}

/** The end of a version's weights; the version itself stays as a tombstone. */
export interface Removal {
  readonly intent: number;
  readonly action: 'erase' | 'prune';
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly dataKeyId: string;
  readonly reason: string;
  readonly principal: string;
  readonly time: string;
  /** When the last escrowed wrap of the data key has expired; absent where none was escrowed. */
  readonly escrowUntil?: string;
  /** False while the intent is open: the next start, or the next try, finishes it. */
  readonly isDone: boolean;
}

export const REMOVAL_DETAIL = z.object({
  digest: digestField,
  dataKeyId: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
  reason: z.string(),
  escrowUntil: timeField.nullable(),
});
const TAG_DETAIL = z.object({ key: z.string(), value: z.string().nullable() });
const HOLD_DETAIL = z.object({ reason: z.string(), until: timeField.nullable() });
const RELEASE_DETAIL = z.object({ hold: z.int() });
const ESCROW_DETAIL = z.object({ dataKeyIds: z.array(z.string()), until: timeField });

/**
 * Tags, holds, removals and escrows as the audit log tells them; there is no other record of them that could differ.
 * Filled by `LogIndex`, an entry at a time.
 */
export class CustodyIndex {
  readonly #tags = new Map<string, Map<string, string>>();
  readonly #holds = new Map<string, Hold[]>();
  readonly #removals = new Map<string, Removal>();
  readonly #escrows = new Map<string, string>();
  readonly #complete = new Set<number>();
  readonly #open = new Map<number, AuditEntry>();
  readonly #openRemovals = new Map<number, string>();
  readonly #inFlight = new Map<number, string>();

  tags(name: string, version: string): Readonly<Record<string, string>> {
    const tags = this.#tags.get(`${name}@${version}`) ?? new Map<string, string>();
    return Object.fromEntries([...tags].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Holds that were not released; some may have ended by themselves. */
  holds(name: string, version: string): readonly Hold[] {
    return this.#holds.get(`${name}@${version}`) ?? [];
  }

  removal(name: string, version: string): Removal | undefined {
    return this.#removals.get(`${name}@${version}`);
  }

  /** Every removal, done or not. */
  get removals(): readonly Removal[] {
    return [...this.#removals.values()];
  }

  /** When the last wrap of a data key that was ever put into escrow has expired. */
  escrowUntil(dataKeyId: string): string | undefined {
    return this.#escrows.get(dataKeyId);
  }

  isComplete(removal: Removal): boolean {
    return this.#complete.has(removal.intent);
  }

  /** Whether something was begun with a version and has not ended. */
  isInFlight(name: string, version: string): boolean {
    return [...this.#inFlight.values()].includes(`${name}@${version}`);
  }

  add(index: number, entry: AuditEntry): void {
    if (entry.kind === 'intent') this.#begin(index, entry);
    else if (entry.kind === 'outcome' && entry.intent !== undefined) {
      this.#inFlight.delete(entry.intent);
      this.#settle(entry.intent, entry.result === 'done');
    } else if (entry.action === ERASE_COMPLETE && typeof entry.detail.erase === 'number') {
      this.#complete.add(entry.detail.erase);
    }
  }

  #begin(index: number, entry: AuditEntry): void {
    const { action, subject } = entry;
    const [name = '', version = ''] = subject.split('@');
    if (isName(name) && isVersion(version)) this.#inFlight.set(index, subject);
    if (action === TAG || action === HOLD || action === RELEASE) this.#open.set(index, entry);
    else if (action === ERASE || action === PRUNE) this.#remove(index, entry, name, version);
    // Counts from its intent on: a copy may have been written even where the outcome says otherwise.
    else if (action === ESCROW) {
      const detail = ESCROW_DETAIL.safeParse(entry.detail);
      for (const id of detail.data?.dataKeyIds ?? []) {
        const until = detail.data?.until ?? '';
        if (until > (this.#escrows.get(id) ?? '')) this.#escrows.set(id, until);
      }
    }
  }

  /** The intent is the point of no return: from here on the version counts as removed. */
  #remove(index: number, entry: AuditEntry, name: string, version: string): void {
    const detail = REMOVAL_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { escrowUntil, ...rest } = detail.data;
    this.#openRemovals.set(index, `${name}@${version}`);
    this.#removals.set(`${name}@${version}`, {
      ...rest,
      intent: index,
      action: entry.action === ERASE ? 'erase' : 'prune',
      name,
      version,
      principal: entry.principal,
      time: entry.time,
      isDone: false,
      ...(escrowUntil === null ? {} : { escrowUntil }),
    });
  }

  #settle(intent: number, isDone: boolean): void {
    const removed = this.#openRemovals.get(intent);
    this.#openRemovals.delete(intent);
    const removal = this.#removals.get(removed ?? '');
    if (removed !== undefined && removal?.intent === intent) {
      this.#removals.set(removed, { ...removal, isDone });
    }
    const entry = this.#open.get(intent);
    this.#open.delete(intent);
    if (entry === undefined || !isDone) return;
    const { subject, action } = entry;
    if (action === TAG) this.#setTag(subject, entry);
    else if (action === HOLD) this.#setHold(intent, subject, entry);
    else {
      const released = RELEASE_DETAIL.safeParse(entry.detail).data?.hold;
      this.#holds.set(
        subject,
        (this.#holds.get(subject) ?? []).filter(({ id }) => id !== released),
      );
    }
  }

  #setTag(subject: string, entry: AuditEntry): void {
    const detail = TAG_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { key, value } = detail.data;
    const tags = this.#tags.get(subject) ?? new Map<string, string>();
    if (value === null) tags.delete(key);
    else tags.set(key, value);
    this.#tags.set(subject, tags);
  }

  #setHold(id: number, subject: string, entry: AuditEntry): void {
    const detail = HOLD_DETAIL.safeParse(entry.detail);
    if (!detail.success) return;
    const { reason, until } = detail.data;
    const { principal, time } = entry;
    const hold = { id, reason, principal, time, ...(until === null ? {} : { until }) };
    this.#holds.set(subject, [...(this.#holds.get(subject) ?? []), hold]);
  }
}
