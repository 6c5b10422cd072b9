import { randomBytes } from 'node:crypto';
import { type AuditLog, audited } from '../audit/index.ts';
import type { Clock, Milliseconds } from '../base/index.ts';
import { clopperPearsonUpper, type Interval } from '../models/index.ts';
import type { Database, SuppressionRow, VerdictRow } from '../storage/index.ts';
import type { Detection } from './detection.ts';
import type { DetectionStore } from './detection-store.ts';
import { AlertsError } from './errors.ts';
import { SuppressionList } from './suppression.ts';

/**
 * `true`: an attack. `benign-trigger`: what was seen did happen, and may: a scanner of ours, a backup. `false`: the
 * model saw what was not there.
 */
export const VERDICTS_OF_ANALYSTS = ['true', 'benign-trigger', 'false'] as const;

/** What analysts make of the detections of one model. */
export interface JudgedModel {
  /** `name@version`. */
  readonly model: string;
  readonly judged: number;
  readonly true: number;
  readonly benignTrigger: number;
  readonly false: number;
  /** Attacks among what was judged, with its exact 95 % interval (Clopper and Pearson, 1934). */
  readonly precision: Interval;
  /** The same with benign triggers counted as right: the model saw what was there. */
  readonly sightPrecision: Interval;
}

/** A detection with what it was, to train on. */
export interface Labelled {
  readonly verdict: VerdictRow;
  /** Absent where it is no longer kept. */
  readonly detection?: Detection;
}

export interface NewRule {
  readonly kind?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly untilMs: Milliseconds;
  readonly reason: string;
}

interface TriageParts {
  readonly database: Pick<Database, 'verdicts' | 'suppressions'>;
  readonly detections: Pick<DetectionStore, 'find' | 'suppress'>;
  readonly log: AuditLog;
  readonly clock: Clock;
}

interface By {
  readonly principal: string;
}

/** Each state of a finding is held against every rule. */
const MAX_RULES = 1_000;
const PAGE = 500;

/** What people say of detections: verdicts, and rules that silence notices for a time. All of it is audited. */
export class Triage {
  readonly #parts: TriageParts;
  /** One change of the rules after the other. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(parts: TriageParts) {
    this.#parts = parts;
  }

  /** Puts the stored rules in force. Throws `alerts.bad-suppression` for one that was edited. */
  static async open(parts: TriageParts): Promise<Triage> {
    const triage = new Triage(parts);
    await triage.#enforce();
    return triage;
  }

  /** Keeps the verdict in the place of an earlier one. Throws `alerts.detection-unknown`. */
  async judge(uid: string, said: Pick<VerdictRow, 'verdict' | 'note'>, by: By): Promise<VerdictRow> {
    const { database, detections, log, clock } = this.#parts;
    const detection = await detections.find(uid);
    if (detection === undefined) {
      throw new AlertsError('alerts.detection-unknown', `no detection has the uid ${uid}`);
    }
    const { kind, revision } = detection;
    const model = `${detection.model.name}@${detection.model.version}`;
    const { verdict, note } = said;
    const { principal } = by;
    const row = { uid, verdict, note, principal, time: Math.trunc(clock.now()), kind, model };
    const detail = { verdict, note, kind, model, digest: detection.model.digest, revision };
    await audited(log, { action: 'detection.verdict', principal, subject: uid, detail }, () =>
      database.verdicts.set(row),
    );
    return row;
  }

  /** The verdicts on these detections, by uid. */
  verdictsOn(uids: readonly string[]): Promise<ReadonlyMap<string, VerdictRow>> {
    return this.#parts.database.verdicts.findAll(uids);
  }

  /** What is measured, by model. It speaks of what was judged: who judges only what looks wrong measures less. */
  async accuracy(): Promise<readonly JudgedModel[]> {
    const counts = new Map<string, Record<VerdictRow['verdict'], number>>();
    for (const { model, verdict, count } of await this.#parts.database.verdicts.count()) {
      const of = counts.get(model) ?? { true: 0, 'benign-trigger': 0, false: 0 };
      of[verdict] = count;
      counts.set(model, of);
    }
    return [...counts].map(([model, of]) => {
      const benign = of['benign-trigger'];
      const judged = of.true + benign + of.false;
      return {
        ...{ model, judged, true: of.true, benignTrigger: benign, false: of.false },
        precision: clopperPearson(of.true, judged),
        sightPrecision: clopperPearson(of.true + benign, judged),
      };
    });
  }

  /** Every verdict with its detection, oldest verdict first. */
  async *labelled(): AsyncGenerator<Labelled, void> {
    const { database, detections } = this.#parts;
    let after: VerdictRow | undefined;
    for (;;) {
      const page = await database.verdicts.list({ ...(after && { after }), limit: PAGE });
      for (const verdict of page) {
        const detection = await detections.find(verdict.uid);
        yield { verdict, ...(detection && { detection }) };
      }
      after = page.at(-1);
      if (page.length < PAGE) return;
    }
  }

  /** Oldest first; those that have expired stay until they are removed, or their place is needed. */
  rules(): Promise<readonly SuppressionRow[]> {
    return this.#parts.database.suppressions.list();
  }

  /** Throws `alerts.bad-suppression` and `alerts.rules-full`. */
  addRule(rule: NewRule, { principal }: By): Promise<SuppressionRow> {
    const { database, log, clock } = this.#parts;
    return this.#inTurn(async () => {
      const now = Math.trunc(clock.now());
      const row = { ...rule, id: randomBytes(8).toString('hex'), principal, createdMs: now };
      new SuppressionList([row]);
      if (row.untilMs <= now)
        throw new AlertsError('alerts.bad-suppression', 'expected an end that is to come');
      const standing = await database.suppressions.list();
      const over = standing.filter(({ untilMs }) => untilMs <= now);
      if (standing.length - over.length >= MAX_RULES) {
        throw new AlertsError('alerts.rules-full', `expected at most ${MAX_RULES} rules`);
      }
      const detail = { ...rule };
      await audited(log, { action: 'suppression.add', principal, subject: row.id, detail }, async () => {
        if (standing.length >= MAX_RULES) for (const { id } of over) await database.suppressions.remove(id);
        await database.suppressions.add(row);
      });
      await this.#enforce();
      return row;
    });
  }

  /** Throws `alerts.rule-unknown`. */
  removeRule(id: string, { principal }: By): Promise<SuppressionRow> {
    const { database, log } = this.#parts;
    return this.#inTurn(async () => {
      const row = (await database.suppressions.list()).find((each) => each.id === id);
      if (row === undefined) throw new AlertsError('alerts.rule-unknown', `no rule has the id ${id}`);
      const { untilMs, reason } = row;
      const what = { action: 'suppression.remove', principal, subject: id, detail: { untilMs, reason } };
      await audited(log, what, () => database.suppressions.remove(id));
      await this.#enforce();
      return row;
    });
  }

  async #enforce(): Promise<void> {
    const { database, detections } = this.#parts;
    detections.suppress(new SuppressionList(await database.suppressions.list()));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => undefined);
    return done;
  }
}

/** Two-sided, 95 %. */
function clopperPearson(hits: number, n: number): Interval {
  const low = hits === 0 ? 0 : 1 - clopperPearsonUpper(n - hits, n, 0.975);
  return { value: n === 0 ? 0 : hits / n, low, high: clopperPearsonUpper(hits, n, 0.975) };
}
