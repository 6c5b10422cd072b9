import type { z } from 'zod';
import type { Clock, Milliseconds } from '../base/index.ts';
import type { DetectionListOptions, DetectionQueries, DetectionRow } from '../storage/index.ts';
import { type alertsConfigSchema, readAlertsConfig } from './config.ts';
import { type Detection, readDetection } from './detection.ts';
import { AlertsError } from './errors.ts';
import type { JudgedRecord } from './finding.ts';
import { Findings } from './findings.ts';
import { Subscription } from './subscription.ts';
import { SuppressionList } from './suppression.ts';

export interface DetectionStoreOptions {
  readonly queries: Pick<
    DetectionQueries,
    'saveDetections' | 'listDetections' | 'findDetection' | 'listOutbox' | 'confirmOutbox'
  >;
  readonly clock: Clock;
  readonly config?: z.input<typeof alertsConfigSchema>;
  readonly suppression?: SuppressionList;
  readonly newUid?: () => string;
}

export interface AlertsStats {
  /** States stored, by activity. */
  readonly stored: Readonly<Record<Detection['activity'], number>>;
  /** States whose notice a rule silenced. */
  readonly suppressed: number;
  /** States lost by slow subscribers, over all of them. */
  readonly dropped: number;
  readonly openFindings: number;
  readonly closedEarly: number;
  /** States waiting for the storage to answer again. */
  readonly unsaved: number;
}

const DEFAULT_BUFFER = 256;

/**
 * Flagged flows in, findings out: grouped, stored together with their notice in one transaction, and only
 * then told to subscribers. What could not be stored is kept and stored with the next call.
 */
export class DetectionStore {
  readonly #queries: DetectionStoreOptions['queries'];
  readonly #clock: Clock;
  readonly #findings: Findings;
  readonly #subscriptions = new Set<Subscription>();
  /** By uid and activity: a later state replaces an earlier one that was not stored yet. */
  readonly #unsaved = new Map<string, Detection>();
  readonly #stored = { create: 0, update: 0, close: 0 };
  #suppression: SuppressionList;
  #suppressed = 0;
  #dropped = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: DetectionStoreOptions) {
    this.#queries = options.queries;
    this.#clock = options.clock;
    this.#suppression = options.suppression ?? new SuppressionList();
    const { clock, newUid } = options;
    const config = readAlertsConfig(options.config);
    this.#findings = new Findings({ config, clock, ...(newUid !== undefined && { newUid }) });
  }

  get stats(): AlertsStats {
    const waiting = [...this.#subscriptions].reduce((sum, { dropped }) => sum + dropped, 0);
    return {
      stored: { ...this.#stored },
      suppressed: this.#suppressed,
      dropped: this.#dropped + waiting,
      openFindings: this.#findings.size,
      closedEarly: this.#findings.closedEarly,
      unsaved: this.#unsaved.size,
    };
  }

  /** Takes judged flows in; gives back the states that were stored. Throws `alerts.not-stored`. */
  record(records: readonly JudgedRecord[]): Promise<readonly Detection[]> {
    return this.#keep(this.#findings.add(records));
  }

  /** Closes findings that have been still for a window at this time of the traffic. Throws `alerts.not-stored`. */
  advance(trafficMs: Milliseconds): Promise<readonly Detection[]> {
    return this.#keep(this.#findings.advance(trafficMs));
  }

  /** The end of the traffic: closes every finding. Throws `alerts.not-stored`. */
  finish(): Promise<readonly Detection[]> {
    return this.#keep(this.#findings.finish());
  }

  /** Newest first. Throws `alerts.malformed-detection`. */
  async list(options: DetectionListOptions = {}): Promise<readonly Detection[]> {
    return (await this.#queries.listDetections(options)).map((row) => readDetection(row.detection));
  }

  /** Throws `alerts.malformed-detection`. */
  async find(uid: string): Promise<Detection | undefined> {
    const row = await this.#queries.findDetection(uid);
    return row === undefined ? undefined : readDetection(row.detection);
  }

  /** New states from now on, those silenced excepted. */
  subscribe(options: { readonly buffer?: number } = {}): Subscription {
    const subscription = new Subscription(options.buffer ?? DEFAULT_BUFFER, (ended) => {
      if (this.#subscriptions.delete(ended)) this.#dropped += ended.dropped;
    });
    this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Rules in force from now on; findings that stand are judged by them at their next state. */
  suppress(rules: SuppressionList): void {
    this.#suppression = rules;
  }

  /**
   * Sends waiting notices in order, each confirmed once it was sent: at least once, also over a crash. Stops at the
   * first that `send` throws at, and throws that on. Gives back how many were sent.
   */
  async deliver(send: (detection: Detection) => Promise<void>, limit = 100): Promise<number> {
    let sent = 0;
    for (const notice of await this.#queries.listOutbox({ limit })) {
      const detection = readDetection(notice.detection);
      if (detection.suppressedBy === undefined) {
        await send(detection);
        sent++;
      }
      await this.#queries.confirmOutbox([notice.sequence]);
    }
    return sent;
  }

  /** Ends every subscription. */
  close(): void {
    for (const subscription of [...this.#subscriptions]) subscription.close();
  }

  #keep(states: readonly Detection[]): Promise<readonly Detection[]> {
    for (const state of states) {
      const rule = this.#suppression.find(state, this.#clock.now());
      const key = `${state.uid} ${state.activity}`;
      this.#unsaved.delete(key);
      this.#unsaved.set(key, rule === undefined ? state : Object.freeze({ ...state, suppressedBy: rule.id }));
    }
    // One write after the other, so that a create is never overtaken by its update.
    const saving = this.#tail.then(() => this.#save());
    this.#tail = saving.catch(() => undefined);
    return saving;
  }

  async #save(): Promise<readonly Detection[]> {
    const entries = [...this.#unsaved];
    if (entries.length === 0) return [];
    try {
      await this.#queries.saveDetections(
        entries.map(([, state]) => ({ activity: state.activity, row: rowOf(state) })),
      );
    } catch (error) {
      throw new AlertsError('alerts.not-stored', `${entries.length} states of findings wait`, {
        cause: error,
      });
    }
    for (const [key, state] of entries) {
      if (this.#unsaved.get(key) === state) this.#unsaved.delete(key);
      this.#stored[state.activity]++;
      if (state.suppressedBy !== undefined) this.#suppressed++;
      else for (const subscription of this.#subscriptions) subscription.push(state);
    }
    return entries.map(([, state]) => state);
  }
}

function rowOf(state: Detection): DetectionRow {
  const { uid, time, kind } = state;
  return {
    uid,
    time,
    lastSeen: state.lastSeenMs,
    kind,
    source: state.source.address,
    detection: { ...state },
  };
}
