import type { Milliseconds } from '../base/index.ts';
import { BusError } from './errors.ts';

/** A message in the hands of one consumer. Neither acknowledged nor given back in time, it goes to another. */
export interface Delivery {
  readonly data: Uint8Array;
  /** 1 for the first delivery; more say that somebody had it before. */
  readonly attempt: number;
  /** Resolves when the bus has noted it: the message will not come again. */
  ack(): Promise<void>;
  /** Gives it back, to be delivered again after the delay. */
  retry(delayMs?: Milliseconds): Promise<void>;
  /** Asks for more time, counted from now. */
  working(): Promise<void>;
}

export interface ConsumeOptions {
  /** A delivery that is not acknowledged for this long goes to another consumer. */
  readonly ackWaitMs: Milliseconds;
  /** Deliveries that wait for acknowledgement at once, over all consumers of the topic. */
  readonly maxPending: number;
  readonly signal?: AbortSignal;
}

export const CONSUME_DEFAULTS = { ackWaitMs: 30_000, maxPending: 256 } as const satisfies ConsumeOptions;

export interface RequestOptions {
  readonly timeoutMs: Milliseconds;
}

/** One version of a value. Revisions of a key only grow. */
export interface BusValue {
  readonly key: string;
  readonly data: Uint8Array;
  readonly revision: number;
}

/** Answers a request; what it throws reaches the requester as `bus.responder-failed` with the message alone. */
export type Responder = (request: Uint8Array) => Promise<Uint8Array>;

/**
 * What processes say to each other. Topics hold messages until one of their consumers acknowledged them (at least
 * once); requests go to one of the responders that listen now and are forgotten; values have revisions, so that
 * compare-and-set decides races; objects are bytes under a name and their digest. It is transport: what has to last
 * is stored elsewhere. Every method throws `bus.unreachable` where the bus is, and `bus.name-invalid`.
 */
export interface Bus {
  readonly kind: 'memory' | 'nats';

  /** Resolves when the bus holds the message. A second message with an `id` of the last two minutes is dropped. Throws `bus.full`. */
  publish(topic: string, data: Uint8Array, options?: { readonly id?: string }): Promise<void>;
  /** Consumers of one topic compete for its messages. Ends when the signal aborts or the bus is closed. */
  consume(topic: string, options?: Partial<ConsumeOptions>): AsyncIterable<Delivery>;

  /** Throws `bus.no-responder`, `bus.timeout`, `bus.responder-failed`. */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<Uint8Array>;
  /** Answers requests until the returned function is called; responders of one subject share its requests. */
  respond(subject: string, responder: Responder): Promise<() => Promise<void>>;

  get(key: string): Promise<BusValue | undefined>;
  /**
   * Writes a value and gives its revision. With `revision` only over that one (0: only where there is none), else
   * undefined and nothing is written.
   */
  put(key: string, data: Uint8Array, revision?: number): Promise<number | undefined>;
  /** Values under `prefix.` as they are now, then each change, until the signal aborts or the bus is closed. */
  watch(prefix: string, signal?: AbortSignal): AsyncIterable<BusValue>;

  putObject(name: string, data: Uint8Array): Promise<void>;
  /** Throws `bus.object-missing`. */
  getObject(name: string): Promise<Uint8Array>;
  deleteObject(name: string): Promise<void>;

  close(): Promise<void>;
}

const NAME = /^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$/;
const MAX_NAME = 128;

/** Throws `bus.name-invalid`. Names are checked before they become subjects, where `*` and `>` have a meaning. */
export function checkName(name: string): string {
  if (name.length > MAX_NAME || !NAME.test(name)) {
    throw new BusError(
      'bus.name-invalid',
      `expected words of a-z, 0-9, - and _ joined by dots, got ${JSON.stringify(name)}`,
    );
  }
  return name;
}
