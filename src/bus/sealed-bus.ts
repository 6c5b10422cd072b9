import { open } from 'node:fs/promises';
import { SecretBuffer } from '../crypto/index.ts';
import type { Bus, BusValue, ConsumeOptions, Delivery, RequestOptions, Responder } from './bus.ts';
import { BusError } from './errors.ts';
import { ReplayGuard } from './replay-guard.ts';
import { frameIdOf, kindOf, SEALED_KINDS, Seal, type SealedKind } from './seal.ts';

const KEY_BYTES = 32;
/** Says under which key a bus is sealed. */
const CHECK_KEY = 'sealing.check';
const CHECK = Buffer.from('ai-guardian');

/** What did not open, by kind, since the start; `replayed` counts requests that came again. */
export type SealRefusals = Readonly<Record<SealedKind | 'replayed', number>>;

/**
 * Seals a bus under the key in a file: 32 random bytes, mode 0600. The first to come notes on the bus that it is sealed under this
 * key, so that a process with another key is refused at its start and throws nobody's messages away. Throws `bus.key-refused`
 * for a file that is not such a key, `bus.key-wrong` for a bus under another key, `bus.unreachable`; then the bus is closed.
 */
export async function sealBus(bus: Bus, keyFile: string): Promise<SealedBus> {
  try {
    const seal = new Seal(await readBusKey(keyFile));
    const sealed = new SealedBus(bus, seal);
    const isFirst = (await bus.put(CHECK_KEY, seal.seal('value', CHECK_KEY, CHECK), 0)) !== undefined;
    if (!isFirst) await sealed.get(CHECK_KEY);
    return sealed;
  } catch (cause) {
    await bus.close();
    if (!(cause instanceof BusError) || cause.code !== 'bus.seal-broken') throw cause;
    const says = `this bus is sealed under another key than that of ${keyFile}`;
    throw new BusError('bus.key-wrong', says, { cause });
  }
}

/**
 * A bus whose content only holders of its key can read or make. Subjects, sizes and times are to be seen by whoever sees the
 * bus, and it can withhold. What does not open is dropped or refused, and counted: deliveries are taken off the topic, requests
 * are refused, an answer, value or object throws `bus.seal-broken`. An answer opens for its own request alone, and a process
 * takes a request once. A value or object that the bus gives in an older state opens: who minds puts a number inside.
 */
export class SealedBus implements Bus {
  readonly kind: Bus['kind'];
  readonly #bus: Bus;
  readonly #seal: Seal;
  readonly #guard = new ReplayGuard();
  readonly #refusals = new Map<SealedKind | 'replayed', number>();

  constructor(bus: Bus, seal: Seal) {
    this.kind = bus.kind;
    this.#bus = bus;
    this.#seal = seal;
  }

  get refusals(): SealRefusals {
    const kinds = [...SEALED_KINDS, 'replayed'] as const;
    return Object.fromEntries(kinds.map((kind) => [kind, this.#refusals.get(kind) ?? 0])) as SealRefusals;
  }

  async publish(topic: string, data: Uint8Array, { id }: { readonly id?: string } = {}): Promise<void> {
    const frame = this.#seal.seal('message', topic, data);
    await this.#bus.publish(
      topic,
      frame,
      id === undefined ? {} : { id: this.#seal.alias(`${topic}\0${id}`) },
    );
  }

  async *consume(topic: string, options?: Partial<ConsumeOptions>): AsyncGenerator<Delivery> {
    for await (const delivery of this.#bus.consume(topic, options)) {
      const data = this.#tryOpen('message', topic, delivery.data);
      // It was not made by a holder of the key, and would come again for ever.
      if (data === undefined) await delivery.ack();
      else yield new OpenedDelivery(delivery, data);
    }
  }

  async request(subject: string, data: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    const frame = this.#seal.seal('request', subject, data);
    let answer: Uint8Array;
    try {
      answer = await this.#bus.request(subject, frame, options);
    } catch (cause) {
      if (!(cause instanceof BusError) || cause.code !== 'bus.responder-failed') throw cause;
      // What is not sealed says nothing that counts.
      this.#count('answer');
      throw new BusError('bus.seal-broken', `whoever answers ${subject} did not open the request`, { cause });
    }
    const about = frameIdOf(frame);
    if (kindOf(answer) !== 'failure') return this.#open('answer', subject, answer, about);
    const why = this.#open('failure', subject, answer, about);
    throw new BusError('bus.responder-failed', Buffer.from(why).toString('utf8'));
  }

  async respond(subject: string, responder: Responder): Promise<() => Promise<void>> {
    return await this.#bus.respond(subject, async (frame) => {
      const request = this.#open('request', subject, frame);
      const about = frameIdOf(frame);
      if (!this.#guard.isNew(about)) {
        this.#count('replayed');
        throw new BusError('bus.seal-broken', `a request on ${subject} came again`);
      }
      try {
        return this.#seal.seal('answer', subject, await responder(request), about);
      } catch (error) {
        const why = error instanceof Error ? error.message : 'unknown failure';
        return this.#seal.seal('failure', subject, Buffer.from(why, 'utf8'), about);
      }
    });
  }

  async get(key: string): Promise<BusValue | undefined> {
    const value = await this.#bus.get(key);
    return value && { ...value, data: this.#open('value', key, value.data) };
  }

  async put(key: string, data: Uint8Array, revision?: number): Promise<number | undefined> {
    return await this.#bus.put(key, this.#seal.seal('value', key, data), revision);
  }

  async *watch(prefix: string, signal?: AbortSignal): AsyncGenerator<BusValue> {
    for await (const value of this.#bus.watch(prefix, signal)) {
      const data = this.#tryOpen('value', value.key, value.data);
      if (data !== undefined) yield { ...value, data };
    }
  }

  async putObject(name: string, data: Uint8Array): Promise<void> {
    await this.#bus.putObject(name, this.#seal.seal('object', name, data));
  }

  async getObject(name: string): Promise<Uint8Array> {
    return this.#open('object', name, await this.#bus.getObject(name));
  }

  async deleteObject(name: string): Promise<void> {
    await this.#bus.deleteObject(name);
  }

  async close(): Promise<void> {
    await this.#bus.close();
  }

  #open(kind: SealedKind, name: string, frame: Uint8Array, about?: Uint8Array): Uint8Array {
    try {
      return this.#seal.open(kind, name, frame, about);
    } catch (error) {
      this.#count(kind);
      throw error;
    }
  }

  #tryOpen(kind: SealedKind, name: string, frame: Uint8Array): Uint8Array | undefined {
    try {
      return this.#open(kind, name, frame);
    } catch {
      return undefined;
    }
  }

  #count(kind: SealedKind | 'replayed'): void {
    this.#refusals.set(kind, (this.#refusals.get(kind) ?? 0) + 1);
  }
}

class OpenedDelivery implements Delivery {
  readonly data: Uint8Array;
  readonly #delivery: Delivery;

  constructor(delivery: Delivery, data: Uint8Array) {
    this.data = data;
    this.#delivery = delivery;
  }

  get attempt(): number {
    return this.#delivery.attempt;
  }

  ack(): Promise<void> {
    return this.#delivery.ack();
  }

  retry(delayMs?: number): Promise<void> {
    return this.#delivery.retry(delayMs);
  }

  working(): Promise<void> {
    return this.#delivery.working();
  }
}

/** Throws `bus.key-refused`: a file that others may read, or not exactly 32 bytes. Links are followed: mounted secrets are links. */
async function readBusKey(path: string): Promise<SecretBuffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new BusError('bus.key-refused', `${path} cannot be read`, { cause });
  });
  try {
    const about = await file.stat();
    const mode = about.mode & 0o777;
    if (!about.isFile() || about.size !== KEY_BYTES) {
      throw new BusError('bus.key-refused', `expected a file of ${KEY_BYTES} bytes at ${path}`);
    }
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new BusError('bus.key-refused', `expected mode 600 on ${path}, got ${mode.toString(8)}`);
    }
    return SecretBuffer.from(await file.readFile());
  } finally {
    await file.close();
  }
}
