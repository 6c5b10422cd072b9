import { setTimeout as wait } from 'node:timers/promises';
import type { DetectionStore, FinishedEvent, JudgedRecord } from '../../alerts/index.ts';
import {
  type Clock,
  faultPoint,
  GuardianError,
  type Logger,
  type Metrics,
  type Milliseconds,
} from '../../base/index.ts';
import type { Bus, Delivery } from '../../bus/index.ts';
import type { Score } from '../../models/index.ts';
import { type Guardrails, isSourceProven } from '../../response/index.ts';
import type { Database } from '../../storage/index.ts';
import { FlowBatch } from '../../traffic/index.ts';
import { QueueError } from './errors.ts';
import { decodeResult, type EventResult, RESULTS_TOPIC } from './messages.ts';

export interface IntakeParts {
  readonly results: Database['eventResults'];
  readonly detections: Pick<DetectionStore, 'recordEvents' | 'flush'>;
  readonly guardrails: Pick<Guardrails, 'judge'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly keepResultsMs: Milliseconds;
  readonly onStored: (id: string) => void;
}

/** Results of one transaction at most, and as many wait beside it. */
const MAX_BATCH = 128;
const ACK_WAIT_MS: Milliseconds = 30_000;
const AGAIN_MS: Milliseconds = 500;
const FORGET_EVERY_MS: Milliseconds = 3_600_000;

interface Arrived {
  readonly delivery: Delivery;
  readonly result: EventResult;
}

/** A result and what is stored of it. */
interface Judged {
  readonly result: EventResult;
  readonly event: FinishedEvent;
}

/**
 * Takes what workers made of events: guard rails judge the attacks, findings grow, and their states are stored in one
 * transaction with a row for each event; only then is the bus told that the result arrived. A result whose event has a
 * row is dropped and counted, so however often a result comes, and wherever a process dies, an event counts once.
 *
 * A worker's word permits no action: certificates are the owner's to judge, and what comes from a worker has none that is
 * active.
 */
export class ResultIntake {
  readonly #parts: IntakeParts;
  readonly #closed = new AbortController();
  readonly #arrived: Arrived[] = [];
  readonly #counter;
  readonly #flows;
  readonly #duplicates;
  #turn = Promise.withResolvers<void>();
  #room = Promise.withResolvers<void>();
  #work: Promise<unknown> = Promise.resolve();
  #told = '';
  #forgottenAt = Number.NEGATIVE_INFINITY;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    const { metrics } = parts;
    this.#counter = metrics.counter('events_results_total', 'Results of queued events, by outcome.', [
      'outcome',
    ]);
    this.#flows = metrics.counter('events_flows_total', 'Flows of queued events, by verdict.', ['verdict']);
    this.#duplicates = metrics.counter('events_duplicates_total', 'Results of events that had one already.');
  }

  start(bus: Bus): void {
    this.#work = Promise.all([this.#receive(bus), this.#storeAll()]);
  }

  /** Resolves when nothing is in hand; what was not stored comes again. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#turn.resolve();
    this.#room.resolve();
    await this.#work;
  }

  async #receive(bus: Bus): Promise<void> {
    const { signal } = this.#closed;
    const options = { ackWaitMs: ACK_WAIT_MS, maxPending: 2 * MAX_BATCH, signal };
    while (!signal.aborted) {
      try {
        for await (const delivery of bus.consume(RESULTS_TOPIC, options)) {
          await this.#accept(delivery);
          while (this.#arrived.length >= MAX_BATCH && !signal.aborted) {
            this.#room = Promise.withResolvers();
            await this.#room.promise;
          }
          if (signal.aborted) return;
        }
      } catch (error) {
        this.#tell(error, 'results cannot be taken in; the bus is asked again');
      }
      await wait(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #accept(delivery: Delivery): Promise<void> {
    try {
      this.#arrived.push({ delivery, result: decodeResult(delivery.data) });
      this.#turn.resolve();
    } catch (error) {
      // Nobody could read it at another try either; without an id there is no event to answer for.
      this.#tell(error, 'a result cannot be read, and is dropped');
      this.#counter.add({ outcome: 'malformed' });
      await delivery.ack();
    }
  }

  async #storeAll(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      if (this.#arrived.length === 0) {
        this.#turn = Promise.withResolvers();
        await this.#turn.promise;
        continue;
      }
      const batch = this.#arrived.splice(0, MAX_BATCH);
      this.#room.resolve();
      let isDone = false;
      while (!isDone && !signal.aborted) {
        try {
          await this.#store(batch);
          isDone = true;
        } catch (error) {
          this.#tell(error, 'results could not be looked up; they are tried again');
          await this.#rest(batch);
        }
      }
    }
  }

  async #store(batch: readonly Arrived[]): Promise<void> {
    const { results } = this.#parts;
    const known = new Set(await results.findStored(batch.map(({ result }) => result.id)));
    const fresh: EventResult[] = [];
    for (const { result } of batch) {
      if (known.has(result.id)) this.#duplicates.add({});
      else fresh.push(result);
      known.add(result.id);
    }
    if (fresh.length > 0) {
      const judged = fresh.map((result) => this.#judged(result));
      await this.#record(judged, batch);
      if (this.#closed.signal.aborted) return;
      const stored = await results.findStored(fresh.map(({ id }) => id));
      // What the store could not take in, and will not at another try: an event is never without a result.
      const missing = fresh.filter(({ id }) => !stored.has(id)).map((result) => this.#failed(result));
      if (missing.length > 0) await this.#record(missing, batch);
      if (this.#closed.signal.aborted) return;
      for (const { result } of [...judged.filter(({ result: { id } }) => stored.has(id)), ...missing])
        this.#count(result);
    }
    faultPoint('guardian.queue.before-ack');
    await Promise.all(batch.map(({ delivery }) => delivery.ack())).catch((error: unknown) =>
      this.#tell(error, 'stored results could not be acknowledged; they come again and are known'),
    );
    await this.#forget();
  }

  async #record(judged: readonly Judged[], batch: readonly Arrived[]): Promise<void> {
    try {
      await this.#parts.detections.recordEvents(judged.map(({ event }) => event));
    } catch (error) {
      // They are in the store's hands now, and would count twice if they were given in again.
      this.#tell(error, 'results could not be stored; they are tried again');
      await this.#flush(batch);
    }
  }

  /** A result that cannot be judged is one that failed: it holds up no other. */
  #judged(result: EventResult): Judged {
    try {
      return { result, event: this.#judge(result) };
    } catch (error) {
      this.#tell(error, 'a result could not be judged; its event failed');
      return this.#failed(result);
    }
  }

  #failed(given: EventResult): Judged {
    const result = notTaken(given);
    return { result, event: this.#judge(result) };
  }

  async #flush(batch: readonly Arrived[]): Promise<void> {
    while (!this.#closed.signal.aborted) {
      await this.#rest(batch);
      try {
        await this.#parts.detections.flush();
        return;
      } catch (error) {
        this.#tell(error, 'results could not be stored; they are tried again');
      }
    }
  }

  #judge({
    id,
    stream,
    worker,
    rows,
    rejects,
    verdicts,
    untilMs,
    failed,
    ...rest
  }: EventResult): FinishedEvent {
    const decisions: Record<string, number> = {};
    const records: JudgedRecord[] = rest.scores.map((given, row) => {
      const flow = rest.attacks.record(row);
      const score: Score = given.certificate === 'active' ? { ...given, certificate: 'suspended' } : given;
      const decision = this.#parts.guardrails.judge({
        ...{ score, source: flow.sourceAddress, sourceProven: isSourceProven(flow), nowMs: flow.endMs },
      });
      decisions[decision.verdict] = (decisions[decision.verdict] ?? 0) + 1;
      return { flow, score, decision };
    });
    const { model } = rest.scores[0] ?? {};
    const body = {
      ...{ route: stream, worker, flows: rows, rejects, verdicts, decisions },
      ...(model !== undefined && { model }),
      ...(failed !== undefined && { failed }),
    };
    return { id, stream, records, untilMs, body };
  }

  #count({ id, verdicts, failed }: EventResult): void {
    this.#counter.add({ outcome: failed === undefined ? 'stored' : 'failed' });
    for (const [verdict, n] of Object.entries(verdicts)) if (n > 0) this.#flows.add({ verdict }, n);
    this.#parts.onStored(id);
  }

  /** Waits a while, and asks the bus for as much more time. */
  async #rest(batch: readonly Arrived[]): Promise<void> {
    await wait(AGAIN_MS, undefined, { signal: this.#closed.signal }).catch(() => {});
    await Promise.all(batch.map(({ delivery }) => delivery.working())).catch(() => {});
  }

  async #forget(): Promise<void> {
    const { clock, results, keepResultsMs } = this.#parts;
    if (clock.monotonic() - this.#forgottenAt < FORGET_EVERY_MS) return;
    this.#forgottenAt = clock.monotonic();
    await results
      .forgetBefore(clock.now() - keepResultsMs)
      .catch((error: unknown) => this.#tell(error, 'old results could not be removed'));
  }

  /** Once for each reason in a row. */
  #tell(error: unknown, what: string): void {
    const code = error instanceof GuardianError ? error.code : 'unknown';
    if (this.#told === `${code} ${what}`) return;
    this.#told = `${code} ${what}`;
    this.#parts.logger.error({ code, ...(code === 'unknown' && { reason: String(error) }) }, what);
  }
}

/** The result of an event that the owner could make nothing of: no flow of it counts. */
function notTaken({ id, stream, worker, rows }: EventResult): EventResult {
  const { code, message } = new QueueError(
    'guardian.result-refused',
    `the result that ${worker} gave could not be taken in`,
  );
  return {
    ...{
      id,
      stream,
      worker,
      rows,
      rejects: {},
      untilMs: 0,
      scores: [],
      attacks: new FlowBatch('packets', 0),
    },
    verdicts: { attack: 0, benign: 0, abstain: 0 },
    failed: { code, message },
  };
}
