import { setTimeout as wait } from 'node:timers/promises';
import type { Consumer, JetStreamClient, JetStreamManager, JsMsg } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import type { ObjectStore } from '@nats-io/obj';
import type { ConnectionOptions, MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import type { Bytes, Milliseconds } from '../base/index.ts';
import {
  type Bus,
  type BusValue,
  CONSUME_DEFAULTS,
  type ConsumeOptions,
  checkName,
  type Delivery,
  type RequestOptions,
  type Responder,
} from './bus.ts';
import { BusError, type BusErrorCode } from './errors.ts';
import { connectionOptions, type NatsAddress } from './nats-address.ts';

export interface NatsBusOptions extends NatsAddress {
  /** Bytes one topic holds at most on the server. */
  readonly maxTopicBytes: Bytes;
  /** How long the server may take to answer. */
  readonly timeoutMs: Milliseconds;
}

export const NATS_DEFAULTS = { maxTopicBytes: 64 * 1024 * 1024, timeoutMs: 5_000 } as const;

/** The packages of NATS, loaded when a bus is connected to and not before. */
interface Packages {
  readonly core: typeof import('@nats-io/transport-node');
  readonly jetstream: typeof import('@nats-io/jetstream');
}

interface Parts extends Packages {
  readonly connection: NatsConnection;
  readonly streams: JetStreamClient;
  readonly admin: JetStreamManager;
  readonly values: KV;
  readonly objects: ObjectStore;
  readonly options: NatsBusOptions;
}

const NS_PER_MS = 1_000_000;
/** Pause before a consumer asks a bus again that did not answer. */
const RETRY_MS: Milliseconds = 500;
/** How long a consumer that was called off still gives back what comes. */
const CALLED_OFF_MS: Milliseconds = 50;
/** Until a message that is given back goes to another: by then the server knows that we take none. */
const GIVE_BACK_MS: Milliseconds = 250;
/** Room that headers and subject take in a message. */
const OVERHEAD: Bytes = 4096;
/** A message that is too large for the server travels as an object of this name, given in this header. */
const OBJECT_HEADER = 'Guardian-Object';
const FAILED_HEADER = 'Guardian-Failed';
/** Objects that nobody fetched are dropped by the server after this. */
const OBJECT_TTL_MS: Milliseconds = 24 * 3_600_000;
const MAX_BYTES_EXCEEDED = 10_077;

/**
 * Connects to NATS with JetStream (2.9 and later). Throws `bus.address-refused` where the server is not on this machine and
 * TLS or credentials are missing, `bus.unreachable` where it does not answer.
 */
export async function connectNats(
  options: NatsAddress & Partial<Pick<NatsBusOptions, 'maxTopicBytes' | 'timeoutMs'>>,
): Promise<Bus> {
  const all: NatsBusOptions = { ...NATS_DEFAULTS, ...options };
  const settings: ConnectionOptions = connectionOptions(all);
  const [core, jetstream, kv, obj] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/jetstream'),
    import('@nats-io/kv'),
    import('@nats-io/obj'),
  ]);
  let connection: NatsConnection | undefined;
  try {
    connection = await core.connect({
      ...{ ...settings, timeout: all.timeoutMs, maxReconnectAttempts: -1 },
      // A stack for each request, should it fail, costs as much as the rest of it.
      noAsyncTraces: true,
    });
    const streams = jetstream.jetstream(connection, { timeout: all.timeoutMs });
    const admin = await jetstream.jetstreamManager(connection, { timeout: all.timeoutMs });
    const values = await new kv.Kvm(streams).create('guardian-values', { history: 1 });
    const objects = await new obj.Objm(streams).create('guardian-objects', {
      ttl: OBJECT_TTL_MS * NS_PER_MS,
    });
    return new NatsBus({ core, jetstream, connection, streams, admin, values, objects, options: all });
  } catch (cause) {
    await connection?.close();
    throw unreachable(cause);
  }
}

class NatsBus implements Bus {
  readonly kind = 'nats';
  readonly #parts: Parts;
  readonly #known = new Set<string>();
  readonly #closed = new AbortController();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async publish(topic: string, data: Uint8Array, { id }: { readonly id?: string } = {}): Promise<void> {
    await this.#guard(async () => {
      await this.#ensureStream(topic);
      const { body, headers } = await this.#pack(data);
      await this.#parts.streams.publish(`guardian.topic.${topic}`, body, {
        ...(id !== undefined && { msgID: id }),
        ...(headers !== undefined && { headers }),
      });
    });
  }

  async *consume(topic: string, options: Partial<ConsumeOptions> = {}): AsyncGenerator<Delivery> {
    const { ackWaitMs, maxPending, signal } = { ...CONSUME_DEFAULTS, signal: undefined, ...options };
    checkName(topic);
    const ended = this.#ended(signal);
    while (!ended.aborted) {
      const messages = await this.#guard(async () => {
        const consumer = await this.#consumer(topic, ackWaitMs, maxPending);
        return await consumer.consume({ max_messages: Math.min(64, maxPending) });
      }).catch(async (error: unknown) => {
        // The connection comes back by itself, and so does the consumer.
        if (!(error instanceof BusError && error.retry)) throw error;
        await wait(RETRY_MS, undefined, { signal: ended }).catch(() => {});
      });
      if (messages === undefined) continue;
      // A moment later: what the client holds, and what is on its way, would wait as for one who died.
      const stop = () => setTimeout(() => void messages.close(), CALLED_OFF_MS);
      ended.addEventListener('abort', stop, { once: true });
      // It may have come while the consumer was asked for.
      if (ended.aborted) stop();
      try {
        for await (const message of messages) {
          if (this.#closed.signal.aborted) break;
          if (ended.aborted) message.nak(GIVE_BACK_MS);
          else {
            const delivery = await this.#delivery(message);
            if (delivery !== undefined) yield delivery;
          }
        }
      } finally {
        ended.removeEventListener('abort', stop);
        await messages.close();
      }
    }
  }

  async request(subject: string, data: Uint8Array, { timeoutMs }: RequestOptions): Promise<Uint8Array> {
    checkName(subject);
    const { body, headers } = await this.#guard(() => this.#pack(data));
    const answer = await this.#guard(
      () =>
        this.#parts.connection.request(`guardian.request.${subject}`, body, {
          timeout: timeoutMs,
          ...(headers !== undefined && { headers }),
        }),
      `no answer from ${subject} within ${timeoutMs} ms`,
    );
    const failed = answer.headers?.get(FAILED_HEADER);
    if (failed) throw new BusError('bus.responder-failed', failed);
    return await this.#unpack(answer.data, answer.headers);
  }

  async respond(subject: string, responder: Responder): Promise<() => Promise<void>> {
    checkName(subject);
    const subscription = this.#parts.connection.subscribe(`guardian.request.${subject}`, {
      queue: 'responders',
      callback: (error, message) => {
        if (error === null) {
          void this.#answer(responder, message.data, message.headers)
            .then(({ body, headers }) => message.respond(body, headers && { headers }))
            .catch(() => {}); // The requester is told by its timeout.
        }
      },
    });
    await this.#guard(() => this.#parts.connection.flush());
    return () => subscription.drain();
  }

  async get(key: string): Promise<BusValue | undefined> {
    const entry = await this.#guard(() => this.#parts.values.get(checkName(key)));
    if (entry === null || entry.operation !== 'PUT') return undefined;
    return { key, data: entry.value, revision: entry.revision };
  }

  async put(key: string, data: Uint8Array, revision?: number): Promise<number | undefined> {
    checkName(key);
    const { values } = this.#parts;
    return await this.#guard(async () => {
      try {
        if (revision === undefined) return await values.put(key, data);
        return await (revision === 0 ? values.create(key, data) : values.update(key, data, revision));
      } catch (error) {
        if (error instanceof this.#parts.jetstream.JetStreamApiError && isWrongRevision(error))
          return undefined;
        throw error;
      }
    });
  }

  async *watch(prefix: string, signal?: AbortSignal): AsyncGenerator<BusValue> {
    checkName(prefix);
    const ended = this.#ended(signal);
    const changes = await this.#guard(() => this.#parts.values.watch({ key: `${prefix}.>` }));
    const stop = () => changes.stop();
    ended.addEventListener('abort', stop, { once: true });
    if (ended.aborted) stop();
    try {
      for await (const { key, value, revision, operation } of changes) {
        if (ended.aborted) break;
        if (operation === 'PUT') yield { key, data: value, revision };
      }
    } finally {
      ended.removeEventListener('abort', stop);
      stop();
    }
  }

  async putObject(name: string, data: Uint8Array): Promise<void> {
    await this.#guard(() => this.#parts.objects.putBlob({ name: checkName(name) }, data));
  }

  async getObject(name: string): Promise<Uint8Array> {
    const data = await this.#guard(() => this.#parts.objects.getBlob(checkName(name)));
    if (data === null) throw new BusError('bus.object-missing', `expected an object named ${name}`);
    return data;
  }

  async deleteObject(name: string): Promise<void> {
    await this.#guard(() => this.#parts.objects.delete(checkName(name)));
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await this.#parts.connection.close();
  }

  #ended(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
  }

  /** Runs work on the connection and gives its failures the codes of the bus. */
  async #guard<T>(work: () => Promise<T>, late = 'the bus did not answer in time'): Promise<T> {
    if (this.#closed.signal.aborted) throw new BusError('bus.closed', 'the bus was closed');
    try {
      return await work();
    } catch (cause) {
      throw this.#asBusError(cause, late);
    }
  }

  #asBusError(cause: unknown, late: string): BusError {
    if (cause instanceof BusError) return cause;
    const { core, jetstream } = this.#parts;
    const of = (code: BusErrorCode, message: string) => new BusError(code, message, { cause });
    if (cause instanceof core.errors.NoRespondersError) return of('bus.no-responder', 'nobody answers');
    if (cause instanceof core.errors.RequestError && cause.isNoResponders?.() === true) {
      return of('bus.no-responder', 'nobody answers');
    }
    if (cause instanceof core.errors.TimeoutError) return of('bus.timeout', late);
    if (cause instanceof jetstream.JetStreamApiError && cause.code === MAX_BYTES_EXCEEDED) {
      return of('bus.full', 'the topic holds as many bytes as it may');
    }
    return unreachable(cause);
  }

  /** A stream a topic: messages go when they are acknowledged, and a full one refuses instead of dropping. */
  async #ensureStream(topic: string): Promise<string> {
    const stream = `guardian-topic-${checkName(topic).replaceAll('.', '_')}`;
    if (this.#known.has(stream)) return stream;
    const { admin, jetstream, options } = this.#parts;
    const wanted = {
      name: stream,
      subjects: [`guardian.topic.${topic}`],
      retention: jetstream.RetentionPolicy.Workqueue,
      storage: jetstream.StorageType.File,
      discard: jetstream.DiscardPolicy.New,
      max_bytes: options.maxTopicBytes,
    };
    try {
      await admin.streams.add(wanted);
    } catch (error) {
      // It is there with other limits: what its maker chose stands.
      if (!(error instanceof jetstream.JetStreamApiError)) throw error;
      await admin.streams.info(stream);
    }
    this.#known.add(stream);
    return stream;
  }

  async #consumer(topic: string, ackWaitMs: Milliseconds, maxPending: number): Promise<Consumer> {
    const stream = await this.#ensureStream(topic);
    const { admin, jetstream, streams } = this.#parts;
    const wanted = {
      durable_name: 'workers',
      ack_policy: jetstream.AckPolicy.Explicit,
      ack_wait: ackWaitMs * NS_PER_MS,
      max_ack_pending: maxPending,
    };
    await admin.consumers.add(stream, wanted).catch(() => admin.consumers.update(stream, 'workers', wanted));
    return await streams.consumers.get(stream, 'workers');
  }

  /** Undefined where its object cannot be had now; then it comes again. */
  async #delivery(message: JsMsg): Promise<Delivery | undefined> {
    let data: Uint8Array;
    try {
      data = await this.#unpack(message.data, message.headers, false);
    } catch (error) {
      const isGone =
        error instanceof BusError &&
        (error.code === 'bus.object-missing' || error.code === 'bus.name-invalid');
      if (!isGone) {
        if (!this.#closed.signal.aborted) message.nak(RETRY_MS);
        return undefined;
      }
      // It would come again for ever. Whoever takes it counts it among what cannot be read.
      data = new Uint8Array(0);
    }
    return {
      data,
      attempt: message.info.deliveryCount,
      ack: async () => {
        await this.#guard(() => message.ackAck());
        await this.#dropObject(message.headers);
      },
      retry: async (delayMs) => message.nak(delayMs),
      working: async () => message.working(),
    };
  }

  async #answer(responder: Responder, data: Uint8Array, headers: MsgHdrs | undefined) {
    try {
      return await this.#pack(await responder(await this.#unpack(data, headers)));
    } catch (cause) {
      const failed = this.#parts.core.headers();
      failed.set(
        FAILED_HEADER,
        cause instanceof Error ? cause.message.replace(/[\r\n]+/g, ' ') : 'unknown failure',
      );
      return { body: new Uint8Array(0), headers: failed };
    }
  }

  /** What goes into the message: the bytes, or the name of the object that holds them. */
  async #pack(data: Uint8Array): Promise<{ body: Uint8Array; headers?: MsgHdrs }> {
    const limit = (this.#parts.connection.info?.max_payload ?? 1_048_576) - OVERHEAD;
    if (data.length <= limit) return { body: data };
    const name = `large.${crypto.randomUUID()}`;
    await this.#parts.objects.putBlob({ name }, data);
    const headers = this.#parts.core.headers();
    headers.set(OBJECT_HEADER, name);
    return { body: new Uint8Array(0), headers };
  }

  async #unpack(data: Uint8Array, headers: MsgHdrs | undefined, drop = true): Promise<Uint8Array> {
    const name = headers?.get(OBJECT_HEADER);
    // The client gives Buffers, whose methods differ from those of a Uint8Array.
    if (!name) return new Uint8Array(data.buffer, data.byteOffset, data.length);
    const found = await this.getObject(name);
    if (drop) await this.#dropObject(headers);
    return found;
  }

  async #dropObject(headers: MsgHdrs | undefined): Promise<void> {
    const name = headers?.get(OBJECT_HEADER);
    // What stays behind goes by the bucket's time limit.
    if (name) await this.deleteObject(name).catch(() => {});
  }
}

function isWrongRevision(error: Error & { readonly code: number }): boolean {
  return error.code === 10_071;
}

function unreachable(cause: unknown): BusError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new BusError('bus.unreachable', `the bus does not answer: ${why}`, { cause });
}
