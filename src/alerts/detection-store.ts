import type { z } from 'zod';
import type { Clock, Milliseconds } from '../base/index.ts';
import type {
  DetectionListOptions,
  DetectionQueries,
  DetectionRow,
  EventResultQueries,
  EventResultRow,
} from '../storage/index.ts';
import { type AlertsConfig, type alertsConfigSchema, readAlertsConfig } from './config.ts';
import { type Detection, readDetection } from './detection.ts';
import { AlertsError } from './errors.ts';
import type { JudgedRecord } from './finding.ts';
import { Findings } from './findings.ts';
import { StateHistory } from './state-history.ts';
import { Subscription } from './subscription.ts';
import { SuppressionList } from './suppression.ts';

export interface DetectionStoreOptions {
  readonly queries: Pick<
    DetectionQueries,
    'saveDetections' | 'listDetections' | 'findDetection' | 'listOutbox' | 'confirmOutbox'
  >;
  /** Where results of events can be looked for; needed by `recordEvents` alone. */
  readonly results?: Pick<EventResultQueries, 'findStored'>;
  readonly clock: Clock;
  readonly config?: z.input<typeof alertsConfigSchema>;
  readonly suppression?: SuppressionList;
  readonly newUid?: () => string;
  /** Called when states and their notices are stored. */
  readonly onStored?: () => void;
}

/** What a queued event came to, on its way into the store. */
export interface FinishedEvent {
  readonly id: string;
  readonly stream: string;
  readonly records: readonly JudgedRecord[];
  /** The latest end of its flows: findings that have been still for a window then are closed. */
  readonly untilMs: Milliseconds;
  /** Kept with its result; the uids of the findings that it raised or changed come beside it as `detections`. */
  readonly body: Readonly<Record<string, unknown>>;
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
const DEFAULT_STREAM = '';
/** Streams followed at once; the one unused longest is finished for a new one. */
const MAX_STREAMS = 64;

/**
 * Flagged flows in, findings out: grouped, stored together with their notice in one transaction, and only
 * then told to subscribers. What could not be stored is kept and stored with the next call.
 */
export class DetectionStore {
  readonly #queries: DetectionStoreOptions['queries'];
  readonly #clock: Clock;
  readonly #config: AlertsConfig;
  readonly #newUid: (() => string) | undefined;
  readonly #onStored: (() => void) | undefined;
  /** One for each stream of traffic, for each has a time of its own; the one used last at the end. */
  readonly #streams = new Map<string, Findings>();
  readonly #subscriptions = new Set<Subscription>();
  /** States that subscribers were told, to be told again to who lost a stream. */
  readonly told = new StateHistory();
  /** By uid and activity: a later state replaces an earlier one that was not stored yet. */
  readonly #unsaved = new Map<string, Detection>();
  /** Results of events that were not stored yet, by event. */
  readonly #unsavedResults = new Map<string, EventResultRow>();
  readonly #results: DetectionStoreOptions['results'];
  /** A write failed, and whether it was committed is not known. */
  #isUnsure = false;
  readonly #stored = { create: 0, update: 0, close: 0 };
  #suppression: SuppressionList;
  #suppressed = 0;
  /** Of streams that have ended. */
  #closedEarly = 0;
  #dropped = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: DetectionStoreOptions) {
    this.#queries = options.queries;
    this.#results = options.results;
    this.#clock = options.clock;
    this.#suppression = options.suppression ?? new SuppressionList();
    this.#config = readAlertsConfig(options.config);
    this.#newUid = options.newUid;
    this.#onStored = options.onStored;
  }

  get stats(): AlertsStats {
    const waiting = [...this.#subscriptions].reduce((sum, { dropped }) => sum + dropped, 0);
    return {
      stored: { ...this.#stored },
      suppressed: this.#suppressed,
      dropped: this.#dropped + waiting,
      openFindings: [...this.#streams.values()].reduce((sum, { size }) => sum + size, 0),
      closedEarly: this.#closedEarly + [...this.#streams.values()].reduce((sum, s) => sum + s.closedEarly, 0),
      unsaved: this.#unsaved.size,
    };
  }

  /**
   * Takes judged flows of a stream in; gives back the states that were stored. Streams are traffic of different
   * times, such as a live source and a replay: each has its own windows. Throws `alerts.not-stored`.
   */
  record(records: readonly JudgedRecord[], stream = DEFAULT_STREAM): Promise<readonly Detection[]> {
    const { findings, displaced } = this.#findingsOf(stream);
    return this.#keep([...displaced, ...findings.add(records)]);
  }

  /**
   * As `record` and `advance` for events none of which has a result yet: their results are stored in the transaction of
   * the states they made, so that a crash leaves both or neither. Throws `alerts.not-stored`: they are kept here, and
   * `flush` tries again; given in again they would count twice.
   */
  recordEvents(events: readonly FinishedEvent[]): Promise<readonly Detection[]> {
    const states: Detection[] = [];
    for (const { id, stream, records, untilMs, body } of events) {
      const { findings, displaced } = this.#findingsOf(stream);
      const own = [...findings.add(records), ...findings.advance(untilMs)];
      states.push(...displaced, ...own);
      const detections = [...new Set(own.map(({ uid }) => uid))];
      this.#unsavedResults.set(id, { id, time: this.#clock.now(), body: { ...body, detections } });
    }
    return this.#keep(states);
  }

  /** Stores what could not be stored before. Throws `alerts.not-stored`. */
  flush(): Promise<readonly Detection[]> {
    return this.#keep([]);
  }

  /** Closes findings that have been still for a window at this time of the stream. Throws `alerts.not-stored`. */
  advance(trafficMs: Milliseconds, stream = DEFAULT_STREAM): Promise<readonly Detection[]> {
    return this.#keep(this.#streams.get(stream)?.advance(trafficMs) ?? []);
  }

  /** The end of a stream, or of all of them: closes their findings. Throws `alerts.not-stored`. */
  finish(stream?: string): Promise<readonly Detection[]> {
    const names = stream === undefined ? [...this.#streams.keys()] : [stream];
    return this.#keep(names.flatMap((name) => this.#end(name)));
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

  #findingsOf(stream: string): { findings: Findings; displaced: readonly Detection[] } {
    let findings = this.#streams.get(stream);
    let displaced: readonly Detection[] = [];
    if (findings === undefined) {
      const [oldest] = this.#streams.keys();
      if (this.#streams.size >= MAX_STREAMS) displaced = this.#end(oldest as string);
      const newUid = this.#newUid;
      findings = new Findings({ config: this.#config, clock: this.#clock, ...(newUid && { newUid }) });
    }
    this.#streams.delete(stream);
    this.#streams.set(stream, findings);
    return { findings, displaced };
  }

  #end(stream: string): readonly Detection[] {
    const findings = this.#streams.get(stream);
    if (findings === undefined) return [];
    this.#streams.delete(stream);
    this.#closedEarly += findings.closedEarly;
    return findings.finish();
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
    const told = await this.#settle();
    const entries = [...this.#unsaved];
    const results = [...this.#unsavedResults.values()];
    if (entries.length === 0 && results.length === 0) return told;
    try {
      await this.#queries.saveDetections(
        entries.map(([, state]) => ({ activity: state.activity, row: rowOf(state) })),
        results,
      );
    } catch (error) {
      this.#isUnsure = true;
      throw notStored(entries.length, error);
    }
    this.#isUnsure = false;
    for (const { id } of results) this.#unsavedResults.delete(id);
    this.#tell(entries);
    return [...told, ...entries.map(([, state]) => state)];
  }

  /**
   * After a write that failed: what of it was committed all the same, because the answer alone was lost, must not be
   * inserted again. Updates may be: they replace.
   */
  async #settle(): Promise<readonly Detection[]> {
    if (!this.#isUnsure) return [];
    const there: [string, Detection][] = [];
    try {
      for (const entry of this.#unsaved) {
        const [, { activity, uid }] = entry;
        if (activity === 'create' && (await this.#queries.findDetection(uid)) !== undefined)
          there.push(entry);
      }
      const stored = await this.#results?.findStored([...this.#unsavedResults.keys()]);
      for (const id of stored ?? []) this.#unsavedResults.delete(id);
    } catch (error) {
      throw notStored(this.#unsaved.size, error);
    }
    this.#isUnsure = false;
    this.#tell(there);
    return there.map(([, state]) => state);
  }

  /** Stored: counted, and told to who listens. */
  #tell(entries: readonly (readonly [string, Detection])[]): void {
    for (const [key, state] of entries) {
      if (this.#unsaved.get(key) === state) this.#unsaved.delete(key);
      this.#stored[state.activity]++;
      if (state.suppressedBy !== undefined) this.#suppressed++;
      else {
        this.told.add(state);
        for (const subscription of this.#subscriptions) subscription.push(state);
      }
    }
    if (entries.length > 0) this.#onStored?.();
  }
}

function notStored(states: number, cause: unknown): AlertsError {
  return new AlertsError('alerts.not-stored', `${states} states of findings wait`, { cause });
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
