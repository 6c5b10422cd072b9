import { setTimeout as wait } from 'node:timers/promises';
import {
  GuardianError,
  type Logger,
  type Metrics,
  type Milliseconds,
  silentLogger,
} from '../../base/index.ts';
import type { Bus, Delivery } from '../../bus/index.ts';
import { type FeatureBatch, FlowExtractor, type LoadedSchema } from '../../features/index.ts';
import type { Engine } from '../../inference/index.ts';
import type { Score } from '../../models/index.ts';
import { FlowBatch } from '../../traffic/index.ts';
import { rejectsOf } from '../rejects.ts';
import { QueueError } from './errors.ts';
import {
  decodeEvent,
  type EventFailure,
  type EventResult,
  encodeResult,
  labelOf,
  partitionTopic,
  type QueuedEvent,
  RESULTS_TOPIC,
} from './messages.ts';
import { PartitionShare } from './partition-share.ts';

export interface EventWorkerOptions {
  /** A worker that does not renew for this long loses its partitions; it stops by itself after two thirds of it. */
  readonly leaseMs: Milliseconds;
  /** An event that is not finished for this long goes to whoever holds its partition then. */
  readonly ackWaitMs: Milliseconds;
  /** Events of a partition in hand at once; as many arrive late where a worker dies. */
  readonly maxPending: number;
  /** Times an event is handed out before its result is that it failed. */
  readonly maxAttempts: number;
  /** Until an event that could not be scored is tried again. */
  readonly retryMs: Milliseconds;
}

export const EVENT_WORKER_DEFAULTS: EventWorkerOptions = {
  leaseMs: 10_000,
  ackWaitMs: 15_000,
  maxPending: 8,
  maxAttempts: 30,
  retryMs: 1_000,
};

export interface EventWorkerParts {
  readonly bus: Bus;
  readonly engine: Pick<Engine, 'score'>;
  /** The schema of the model in place under a name; undefined where there is none. */
  readonly schemaOf: (model: string) => LoadedSchema | undefined;
  /** Whether there is any model to score with; without one it takes no partition. Always by default. */
  readonly isReady?: () => boolean;
  /** Names this worker in leases and results. */
  readonly id: string;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly options?: Partial<EventWorkerOptions>;
}

export interface EventWorkerStats {
  /** Partitions held now. */
  readonly partitions: readonly number[];
  /** Events finished: their result is on the bus and they will not come again. */
  readonly events: number;
  readonly flows: number;
  /** Events that had been handed out before. */
  readonly redelivered: number;
  /** Events whose result is that they failed. */
  readonly failed: number;
  /** Partitions whose holder before went silent. */
  readonly takeovers: number;
}

/** Streams with windows of their own; the one unused longest is forgotten for a new one. */
const MAX_STREAMS = 64;
/** Until an event is tried again whose model is not here yet. */
const MODEL_RETRY_MS: Milliseconds = 2_000;
/** Events that were scored or extracted and could not be handed on yet. */
const MAX_IN_HAND = 256;
/** Events whose result was handed on: one that comes again is acknowledged and does not enter the windows twice. */
const MAX_FINISHED = 4_096;

interface Windows {
  readonly schemaId: string;
  readonly extractor: FlowExtractor;
}

/** An event on its way: kept, so that trying again does not put its flows into the windows twice. */
interface InHand {
  batch?: FeatureBatch;
  result?: EventResult;
}

/**
 * Scores queued events. It holds its share of the partitions, and whoever holds a partition has the windows of its streams; a
 * result is on the bus, under the id of its event, before the event is acknowledged. So an event is worked on at
 * least once, by a worker that needs neither the database nor any key but that of the bus. Windows go with the worker:
 * whoever takes a partition over starts with empty ones.
 */
export class EventWorker {
  readonly #parts: EventWorkerParts;
  readonly #options: EventWorkerOptions;
  readonly #share: PartitionShare;
  readonly #windows = new Map<string, Windows>();
  readonly #inHand = new Map<string, InHand>();
  readonly #finished = new Set<string>();
  readonly #stats = { events: 0, flows: 0, redelivered: 0, failed: 0, takeovers: 0 };
  readonly #told = new Set<string>();
  readonly #counter;

  constructor(parts: EventWorkerParts) {
    this.#parts = parts;
    this.#options = { ...EVENT_WORKER_DEFAULTS, ...parts.options };
    const { metrics, bus, id } = parts;
    this.#counter = metrics?.counter('queue_worker_events_total', 'Queued events by what became of them.', [
      'outcome',
    ]);
    metrics?.gauge('queue_worker_partitions', 'Partitions of the queue held.', () => this.#share.held.length);
    metrics?.gauge(
      'queue_worker_takeovers',
      'Partitions taken over from workers that went silent, since the start.',
      () => this.#stats.takeovers,
    );
    this.#share = new PartitionShare({
      ...{ bus, holder: id, leaseMs: this.#options.leaseMs },
      isReady: parts.isReady ?? (() => true),
      work: (partition, ended, isTakeover) => this.#consume(partition, ended, isTakeover),
      onError: (error) => this.#tell(error, 'a part of the queue could not be worked on'),
    });
  }

  get stats(): EventWorkerStats {
    return { ...this.#stats, partitions: this.#share.held };
  }

  start(): void {
    this.#share.start();
  }

  /** Finishes the events in hand and gives the partitions back. The bus stays open. */
  close(): Promise<void> {
    return this.#share.close();
  }

  async #consume(partition: number, ended: AbortSignal, isTakeover: boolean): Promise<void> {
    if (isTakeover) this.#stats.takeovers++;
    const { ackWaitMs, maxPending } = this.#options;
    const options = { ackWaitMs, maxPending, signal: ended };
    try {
      while (!ended.aborted) {
        let stuck: EventResult | undefined;
        for await (const delivery of this.#parts.bus.consume(partitionTopic(partition), options)) {
          if (ended.aborted) await delivery.retry();
          else stuck = await this.#take(partition, delivery);
          // Where it has ended, the bus gives back what it holds for us, and ends the loop.
          if (stuck !== undefined) break;
        }
        // The bus was closed under us.
        if (stuck === undefined) return;
        // Nothing is asked for meanwhile: what waits for an owner that is away is not handed out in vain.
        await this.#publishLater(stuck, ended);
      }
    } finally {
      for (const key of this.#windows.keys()) {
        if (key.startsWith(`${partition}\n`)) this.#windows.delete(key);
      }
    }
  }

  /** One event, to its acknowledgement or back onto the bus; or its result, where the bus did not take that. */
  async #take(partition: number, delivery: Delivery): Promise<EventResult | undefined> {
    try {
      if (delivery.attempt > 1) this.#stats.redelivered++;
      const result = await this.#resultFor(partition, delivery);
      if (result !== undefined) {
        try {
          await this.#publish(result);
        } catch (error) {
          this.#tell(error, 'a result could not be handed on; it is tried again');
          return result;
        }
      }
      await delivery.ack();
    } catch (error) {
      this.#tell(error, 'an event could not be finished; it comes again');
      const { retryMs } = this.#options;
      const pause = error instanceof GuardianError ? (error.retryAfterMs ?? retryMs) : retryMs;
      // No way back onto a bus that is away: it comes again by itself.
      await delivery.retry(pause).catch(() => {});
    }
    return undefined;
  }

  /** Undefined where nothing is left to be said of it. */
  async #resultFor(partition: number, { data, attempt }: Delivery): Promise<EventResult | undefined> {
    let event: QueuedEvent;
    try {
      event = decodeEvent(data);
    } catch (error) {
      // A worker of another version may read it.
      if (attempt < this.#options.maxAttempts) throw error;
      return this.#unreadable(data, error);
    }
    if (this.#finished.has(event.id)) return undefined;
    const held = this.#hold(event.id);
    held.result ??= await this.#work(partition, event, held, attempt);
    return held.result;
  }

  /** The event failed, where what came says which it was; else it is dropped, or it would come again for ever. */
  #unreadable(data: Uint8Array, error: unknown): EventResult | undefined {
    this.#tell(error, 'an event cannot be read, and is given up');
    this.#counter?.add({ outcome: 'malformed' });
    const label = labelOf(data);
    if (label === undefined || this.#finished.has(label.id)) return undefined;
    return this.#failureOf({ ...label, flows: new FlowBatch('packets', 0) }, error);
  }

  /** The event comes again, since it was not acknowledged, and is known then. */
  async #publishLater(result: EventResult, ended: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      await wait(this.#options.retryMs, undefined, { signal: ended }).catch(() => {});
      try {
        return await this.#publish(result);
      } catch (error) {
        this.#tell(error, 'a result could not be handed on; it is tried again');
      }
    }
  }

  /** Its id keeps the bus from holding the same result twice; whoever stores it looks again. */
  async #publish(result: EventResult): Promise<void> {
    await this.#parts.bus.publish(RESULTS_TOPIC, encodeResult(result), { id: result.id });
    this.#finish(result);
  }

  async #work(partition: number, event: QueuedEvent, held: InHand, attempt: number): Promise<EventResult> {
    const { maxAttempts } = this.#options;
    try {
      if (attempt > maxAttempts) {
        throw new QueueError('guardian.attempts-exhausted', `it was handed out ${attempt} times`);
      }
      held.batch ??= this.#extract(partition, event);
      const { model, stream } = event;
      const scores = await this.#parts.engine.score(held.batch, { model, source: stream });
      return this.#resultOf(event, held.batch, scores);
    } catch (error) {
      // Another model took its place meanwhile.
      const isOutdated = error instanceof GuardianError && error.code === 'inference.schema-mismatch';
      if (isOutdated) delete held.batch;
      const mayPass = isOutdated || (error instanceof GuardianError && error.retry);
      if (mayPass && attempt < maxAttempts) throw error;
      this.#tell(error, 'an event failed; its result says so');
      return this.#failureOf(event, error);
    }
  }

  #extract(partition: number, { stream, model, flows }: QueuedEvent): FeatureBatch {
    const schema = this.#parts.schemaOf(model);
    if (schema === undefined) {
      // Models come after the partitions did: whether one comes at all, the attempts decide.
      throw new QueueError('guardian.model-missing', `no model ${JSON.stringify(model)} is in place here`, {
        retryAfterMs: MODEL_RETRY_MS,
      });
    }
    const key = `${partition}\n${stream}\n${model}`;
    let windows = this.#windows.get(key);
    if (windows?.schemaId !== schema.id) {
      windows = { schemaId: schema.id, extractor: new FlowExtractor(schema) };
    }
    this.#windows.delete(key);
    this.#windows.set(key, windows);
    if (this.#windows.size > MAX_STREAMS) this.#windows.delete(this.#windows.keys().next().value as string);
    return windows.extractor.extract(flows);
  }

  #resultOf({ id, stream, flows }: QueuedEvent, batch: FeatureBatch, scores: readonly Score[]): EventResult {
    const verdicts = { attack: 0, benign: 0, abstain: 0 };
    const attacks: Score[] = [];
    const records = [];
    let untilMs = 0;
    for (let row = 0; row < flows.rows; row++) {
      const score = scores[row] as Score;
      verdicts[score.verdict]++;
      const endMs = flows.number(row, 'end_ms');
      if (endMs > untilMs) untilMs = endMs;
      if (score.verdict !== 'attack') continue;
      attacks.push(score);
      records.push(flows.record(row));
    }
    return {
      ...{
        id,
        stream,
        worker: this.#parts.id,
        rows: flows.rows,
        rejects: rejectsOf(batch),
        verdicts,
        untilMs,
      },
      scores: attacks,
      attacks: FlowBatch.from(records, flows.sourceKind),
    };
  }

  #failureOf({ id, stream, flows }: Omit<QueuedEvent, 'model'>, error: unknown): EventResult {
    const failed: EventFailure = {
      code: error instanceof GuardianError ? error.code : 'unknown',
      message: error instanceof GuardianError ? error.message.slice(0, 1_000) : 'an unexpected failure',
    };
    return {
      ...{ id, stream, worker: this.#parts.id, rows: flows.rows, rejects: {}, failed, untilMs: 0 },
      verdicts: { attack: 0, benign: 0, abstain: 0 },
      scores: [],
      attacks: new FlowBatch(flows.sourceKind, 0),
    };
  }

  #hold(id: string): InHand {
    const held = this.#inHand.get(id) ?? {};
    this.#inHand.set(id, held);
    if (this.#inHand.size > MAX_IN_HAND) this.#inHand.delete(this.#inHand.keys().next().value as string);
    return held;
  }

  #finish({ id, rows, failed }: EventResult): void {
    this.#inHand.delete(id);
    this.#finished.add(id);
    if (this.#finished.size > MAX_FINISHED) {
      this.#finished.delete(this.#finished.values().next().value as string);
    }
    this.#stats.events++;
    this.#stats.flows += rows;
    if (failed !== undefined) this.#stats.failed++;
    this.#counter?.add({ outcome: failed === undefined ? 'scored' : 'failed' });
  }

  /** Once for each reason until the next event is finished: a bus that is away must not fill the log. */
  #tell(error: unknown, what: string): void {
    const code = error instanceof GuardianError ? error.code : 'unknown';
    const key = `${code} ${this.#stats.events}`;
    if (this.#told.has(key)) return;
    this.#told.clear();
    this.#told.add(key);
    const { logger = silentLogger } = this.#parts;
    logger.error({ code, ...(code === 'unknown' && { reason: String(error) }) }, what);
  }
}
