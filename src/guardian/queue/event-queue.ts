import { GuardianError, type Logger, type Metrics, type Milliseconds, retryWhere } from '../../base/index.ts';
import { type Bus, type QueueConfig, SealedBus } from '../../bus/index.ts';
import type { Database } from '../../storage/index.ts';
import type { FlowBatch } from '../../traffic/index.ts';
import { QueueError } from './errors.ts';
import { isEventId, newEventId } from './event-id.ts';
import { encodeEvent, PARTITIONS_KEY, partitionOf, partitionTopic } from './messages.ts';
import { type IntakeParts, ResultIntake } from './result-intake.ts';

export interface EventQueueParts extends Omit<IntakeParts, 'onStored' | 'keepResultsMs' | 'results'> {
  readonly database: Pick<Database, 'eventResults'>;
  readonly config: QueueConfig;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

export interface SubmittedFlows {
  /** Names the stream: each has windows of its own. */
  readonly stream: string;
  /** Registry name of the model. */
  readonly model: string;
  readonly principal: string;
  /** Events of one caller under the same key are one event, whatever they hold. */
  readonly idempotencyKey?: string | undefined;
}

/** What is known of an event: it waits, or what it came to. */
export type EventState =
  | { readonly id: string; readonly state: 'waiting' }
  | {
      readonly id: string;
      readonly state: 'done' | 'failed';
      readonly storedAt: string;
      readonly [field: string]: unknown;
    };

/** Bytes of one event on the bus: it, and its result, travel in one message of NATS' usual size. */
const MAX_EVENT_BYTES = 512 * 1024;
/** Ids that are remembered as waiting, for the metric. */
const MAX_WAITING = 100_000;
const DAY_MS: Milliseconds = 86_400_000;
const FULL_RETRY_MS: Milliseconds = 5_000;
const AWAY_RETRY_MS: Milliseconds = 2_000;
const JOIN_LATER = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 1_000, maxDelayMs: 30_000 };

/**
 * The owner's side of the queue: flows go onto the bus and are acknowledged when the bus holds them; what workers made of
 * them comes back through the intake. It has a connection of its own.
 */
export class EventQueue {
  readonly #parts: EventQueueParts;
  readonly #closed = new AbortController();
  readonly #waiting = new Set<string>();
  readonly #queued;
  readonly #refused;
  #isConfigured = false;
  #isUnsealed = false;
  #bus: Bus | undefined;
  #intake: ResultIntake | undefined;

  constructor(parts: EventQueueParts) {
    this.#parts = parts;
    const { metrics } = parts;
    this.#queued = metrics.counter('events_queued_total', 'Events that the bus acknowledged.');
    this.#refused = metrics.counter('events_refused_total', 'Events that could not be queued, by reason.', [
      'reason',
    ]);
    metrics.gauge(
      'events_waiting',
      'Events queued by this process without a result so far.',
      () => this.#waiting.size,
    );
  }

  /**
   * Opens the queue on a bus, now or when it answers; one that is not sealed opens none. Throws what `open` throws where another try would not help.
   */
  async join(open: () => Promise<Bus>): Promise<void> {
    const { signal } = this.#closed;
    const opened = async () => {
      const bus = await open();
      try {
        // Whoever could write results could write findings.
        if (bus.kind !== 'memory' && !(bus instanceof SealedBus)) {
          this.#isUnsealed = true;
          throw unsealed();
        }
        await announcePartitions(bus, this.#parts.config.partitions);
        return bus;
      } catch (error) {
        await bus.close();
        throw error;
      }
    };
    try {
      this.#isConfigured = true;
      this.#use(await opened());
    } catch (error) {
      if (this.#isUnsealed) return;
      if (!(error instanceof GuardianError) || !error.retry) throw error;
      this.#parts.logger.error({ code: error.code }, 'the queue of events waits for the bus');
      void retryWhere(opened, { ...JOIN_LATER, signal }).then(
        (bus) => this.#use(bus),
        (cause: unknown) => {
          const code = cause instanceof GuardianError ? cause.code : 'unknown';
          if (!signal.aborted) this.#parts.logger.error({ code }, 'the queue of events could not be opened');
        },
      );
    }
  }

  /**
   * Resolves when the bus holds the event. Where an event of the same key has a result, gives that and queues nothing.
   * Throws `guardian.no-bus`, `guardian.queue-away`, `guardian.queue-full`, `guardian.event-too-large`.
   */
  async submit(flows: FlowBatch, options: SubmittedFlows): Promise<EventState> {
    try {
      return await this.#submit(flows, options);
    } catch (error) {
      if (error instanceof QueueError) this.#refused.add({ reason: error.code });
      throw error;
    }
  }

  /** What became of an event; undefined for an id that was given to none. */
  async find(id: string): Promise<EventState | undefined> {
    if (!isEventId(id)) return undefined;
    const row = await this.#parts.database.eventResults.find(id);
    if (row === undefined) return { id, state: 'waiting' };
    const state = row.body.failed === undefined ? 'done' : 'failed';
    return { ...row.body, id, state, storedAt: new Date(row.time).toISOString() };
  }

  /** Resolves when no result is in hand any more. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#intake?.close();
    await this.#bus?.close().catch(() => {});
  }

  async #submit(flows: FlowBatch, options: SubmittedFlows): Promise<EventState> {
    const bus = this.#busOrRefuse();
    const { stream, model, principal, idempotencyKey } = options;
    const id = newEventId(idempotencyKey === undefined ? undefined : { principal, key: idempotencyKey });
    if (idempotencyKey !== undefined) {
      // A database that is away holds up nobody: a second result is known for one when it comes.
      const known = await this.find(id).catch(() => undefined);
      if (known !== undefined && known.state !== 'waiting') return known;
    }
    const bytes = encodeEvent({ id, stream, model, flows });
    if (bytes.length > MAX_EVENT_BYTES) {
      const room = `${MAX_EVENT_BYTES} bytes`;
      throw new QueueError('guardian.event-too-large', `expected at most ${room}, got ${bytes.length}`);
    }
    const topic = partitionTopic(partitionOf(stream, this.#parts.config.partitions));
    this.#note(id);
    try {
      await bus.publish(topic, bytes, { id });
    } catch (cause) {
      this.#waiting.delete(id);
      throw refusalOf(cause);
    }
    this.#queued.add({});
    return { id, state: 'waiting' };
  }

  #busOrRefuse(): Bus {
    if (this.#bus !== undefined) return this.#bus;
    if (this.#isUnsealed) throw unsealed();
    if (!this.#isConfigured) throw new QueueError('guardian.no-bus', 'expected bus.url in the configuration');
    throw away();
  }

  #note(id: string): void {
    this.#waiting.add(id);
    if (this.#waiting.size > MAX_WAITING) {
      this.#waiting.delete(this.#waiting.values().next().value as string);
    }
  }

  #use(bus: Bus): void {
    if (this.#closed.signal.aborted) {
      void bus.close().catch(() => {});
      return;
    }
    const { config, database } = this.#parts;
    this.#bus = bus;
    this.#intake = new ResultIntake({
      ...this.#parts,
      results: database.eventResults,
      keepResultsMs: config.keepResultsDays * DAY_MS,
      onStored: (id) => this.#waiting.delete(id),
    });
    this.#intake.start(bus);
  }
}

/** Workers serve every partition that ever was, so that what waits in one is not left behind. */
async function announcePartitions(bus: Bus, partitions: number): Promise<void> {
  for (;;) {
    const found = await bus.get(PARTITIONS_KEY);
    const announced = Number(Buffer.from(found?.data ?? []).toString());
    if (announced >= partitions) return;
    const revision = await bus.put(PARTITIONS_KEY, Buffer.from(String(partitions)), found?.revision ?? 0);
    if (revision !== undefined) return;
  }
}

function refusalOf(cause: unknown): Error {
  const code = cause instanceof GuardianError ? cause.code : undefined;
  if (code === 'bus.full') {
    return new QueueError('guardian.queue-full', 'the queue of this stream is full', {
      ...{ cause, retryAfterMs: FULL_RETRY_MS },
    });
  }
  return code?.startsWith('bus.') === true ? away(cause) : (cause as Error);
}

function unsealed(): QueueError {
  return new QueueError(
    'guardian.no-bus',
    'expected bus.sealingKeyFile: events are queued on a sealed bus alone',
  );
}

function away(cause?: unknown): QueueError {
  const says = 'the bus did not acknowledge the event';
  return new QueueError('guardian.queue-away', says, { cause, retryAfterMs: AWAY_RETRY_MS });
}
