import { setTimeout as wait } from 'node:timers/promises';
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
import { BusError } from './errors.ts';

export interface MemoryBusOptions {
  /** Bytes one topic holds at most. */
  readonly maxTopicBytes: Bytes;
}

export const MEMORY_BUS_DEFAULTS: MemoryBusOptions = { maxTopicBytes: 256 * 1024 * 1024 };

/** How long ids of messages are remembered. */
const DEDUPLICATE_MS = 120_000;

interface Message {
  readonly data: Uint8Array;
  attempt: number;
}

interface Topic {
  readonly waiting: Message[];
  readonly ids: Map<string, Milliseconds>;
  pending: number;
  bytes: Bytes;
  readonly listeners: Set<() => void>;
}

/** What every connection of one bus shares. */
interface Shared {
  readonly topics: Map<string, Topic>;
  readonly responders: Map<string, Responder[]>;
  readonly values: Map<string, BusValue>;
  readonly watchers: Set<() => void>;
  readonly objects: Map<string, Uint8Array>;
  revision: number;
}

/** The bus inside one process: the same rules as NATS, nothing to set up, gone with the process. */
export class MemoryBus implements Bus {
  readonly kind = 'memory';
  readonly #options: MemoryBusOptions;
  readonly #shared: Shared;
  readonly #closed = new AbortController();

  constructor(options: Partial<MemoryBusOptions> = {}, beside?: MemoryBus) {
    this.#options = { ...MEMORY_BUS_DEFAULTS, ...options };
    this.#shared = beside === undefined ? newShared() : beside.#shared;
  }

  /** Another connection to the same bus, closed for itself alone. */
  connect(): MemoryBus {
    return new MemoryBus(this.#options, this);
  }

  async publish(name: string, data: Uint8Array, { id }: { readonly id?: string } = {}): Promise<void> {
    const topic = this.#topic(name);
    const now = performance.now();
    for (const [known, at] of topic.ids) {
      if (now - at < DEDUPLICATE_MS) break;
      topic.ids.delete(known);
    }
    if (id !== undefined && topic.ids.has(id)) return;
    if (topic.bytes + data.length > this.#options.maxTopicBytes) {
      throw new BusError('bus.full', `topic ${name} holds ${topic.bytes} bytes`);
    }
    if (id !== undefined) topic.ids.set(id, now);
    topic.bytes += data.length;
    topic.waiting.push({ data: data.slice(), attempt: 0 });
    wake(topic.listeners);
  }

  async *consume(name: string, options: Partial<ConsumeOptions> = {}): AsyncGenerator<Delivery> {
    const { ackWaitMs, maxPending, signal } = { ...CONSUME_DEFAULTS, signal: undefined, ...options };
    if (this.#closed.signal.aborted) return;
    const topic = this.#topic(name);
    const ended = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    while (!ended.aborted) {
      const message = topic.pending < maxPending ? topic.waiting.shift() : undefined;
      if (message === undefined) await woken(topic.listeners, ended);
      else yield deliver(topic, message, ackWaitMs);
    }
  }

  async request(subject: string, data: Uint8Array, { timeoutMs }: RequestOptions): Promise<Uint8Array> {
    this.#check(subject);
    const responders = this.#shared.responders.get(subject) ?? [];
    const responder = responders.shift();
    if (responder === undefined) throw new BusError('bus.no-responder', `nobody answers ${subject}`);
    responders.push(responder);
    const stop = new AbortController();
    const late = wait(timeoutMs, undefined, { signal: stop.signal, ref: true }).then(() => {
      throw new BusError('bus.timeout', `no answer from ${subject} within ${timeoutMs} ms`);
    });
    late.catch(() => {});
    const answer = responder(data.slice()).catch((cause: unknown) => {
      throw new BusError('bus.responder-failed', messageOf(cause));
    });
    try {
      return (await Promise.race([answer, late])).slice();
    } finally {
      stop.abort();
    }
  }

  async respond(subject: string, responder: Responder): Promise<() => Promise<void>> {
    this.#check(subject);
    const responders = this.#shared.responders.get(subject) ?? [];
    this.#shared.responders.set(subject, responders);
    responders.push(responder);
    return async () => {
      const at = responders.indexOf(responder);
      if (at >= 0) responders.splice(at, 1);
    };
  }

  async get(key: string): Promise<BusValue | undefined> {
    return this.#shared.values.get(this.#check(key));
  }

  async put(key: string, data: Uint8Array, revision?: number): Promise<number | undefined> {
    const found = this.#shared.values.get(this.#check(key))?.revision ?? 0;
    if (revision !== undefined && revision !== found) return undefined;
    const value = { key, data: data.slice(), revision: ++this.#shared.revision };
    this.#shared.values.set(key, value);
    wake(this.#shared.watchers);
    return value.revision;
  }

  async *watch(prefix: string, signal?: AbortSignal): AsyncGenerator<BusValue> {
    this.#check(prefix);
    const ended = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    let seen = 0;
    while (!ended.aborted) {
      const fresh = [...this.#shared.values.values()]
        .filter(({ key, revision }) => revision > seen && key.startsWith(`${prefix}.`))
        .sort((a, b) => a.revision - b.revision);
      for (const value of fresh) {
        seen = value.revision;
        yield value;
      }
      if (fresh.length === 0) await woken(this.#shared.watchers, ended);
    }
  }

  async putObject(name: string, data: Uint8Array): Promise<void> {
    this.#shared.objects.set(this.#check(name), data.slice());
  }

  async getObject(name: string): Promise<Uint8Array> {
    const data = this.#shared.objects.get(this.#check(name));
    if (data === undefined) throw new BusError('bus.object-missing', `expected an object named ${name}`);
    return data.slice();
  }

  async deleteObject(name: string): Promise<void> {
    this.#shared.objects.delete(this.#check(name));
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }

  #check(name: string): string {
    if (this.#closed.signal.aborted) throw new BusError('bus.closed', 'the bus was closed');
    return checkName(name);
  }

  #topic(name: string): Topic {
    const topic = this.#shared.topics.get(this.#check(name)) ?? {
      waiting: [],
      ids: new Map(),
      pending: 0,
      bytes: 0,
      listeners: new Set(),
    };
    this.#shared.topics.set(name, topic);
    return topic;
  }
}

function newShared(): Shared {
  return {
    topics: new Map(),
    responders: new Map(),
    values: new Map(),
    watchers: new Set(),
    objects: new Map(),
    revision: 0,
  };
}

function deliver(topic: Topic, message: Message, ackWaitMs: Milliseconds): Delivery {
  topic.pending++;
  message.attempt++;
  let isOpen = true;
  const close = () => {
    if (!isOpen) return false;
    isOpen = false;
    clearTimeout(timer);
    topic.pending--;
    return true;
  };
  const giveBack = () => {
    if (close()) topic.waiting.unshift(message);
    wake(topic.listeners);
  };
  let timer = setTimeout(giveBack, ackWaitMs);
  return {
    data: message.data.slice(),
    attempt: message.attempt,
    ack: async () => {
      if (close()) topic.bytes -= message.data.length;
      wake(topic.listeners);
    },
    retry: async (delayMs = 0) => {
      clearTimeout(timer);
      if (isOpen) timer = setTimeout(giveBack, delayMs);
    },
    working: async () => {
      clearTimeout(timer);
      if (isOpen) timer = setTimeout(giveBack, ackWaitMs);
    },
  };
}

function wake(listeners: Set<() => void>): void {
  const woken = [...listeners];
  listeners.clear();
  for (const listener of woken) listener();
}

/** Resolves at the next `wake` or when the signal aborts. */
function woken(listeners: Set<() => void>, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      ended.removeEventListener('abort', done);
      listeners.delete(done);
      resolve();
    };
    listeners.add(done);
    ended.addEventListener('abort', done, { once: true });
  });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'unknown failure';
}
