import { setTimeout as wait } from 'node:timers/promises';
import { GuardianError, type Logger, type Milliseconds } from '../../base/index.ts';
import { type Bus, BusError } from '../../bus/index.ts';
import type { VerifiedModel } from '../../registry/index.ts';
import type { ServedModel } from '../served-model.ts';
import { bundleName, encodeBundle } from './model-bundle.ts';
import { decodeList, encodeList, LIST_KEY, type ListedModel, type ModelList } from './model-list.ts';

/** Changes that come together are one list. */
const GATHER_MS: Milliseconds = 100;
/** The bus drops objects after a day; they are put again well before. */
const REFRESH_MS: Milliseconds = 8 * 3_600_000;
/** How often the owner looks whether the bus still has its list: it may have lost it, or somebody put an older one back. */
const LOOK_MS: Milliseconds = 15_000;
const FIRST_PAUSE: Milliseconds = 500;
const LONGEST_PAUSE: Milliseconds = 30_000;

interface Offered {
  readonly verified: VerifiedModel;
  readonly listed: Omit<ListedModel, 'isCurrent'>;
}

/**
 * Offers on the bus what the engine serves: the bundle of each model as an object named by its digest, and the list of them under
 * a number that only grows. What left the engine leaves the list, and its object is deleted. Workers are told by the list alone;
 * what they do with it is their own.
 */
export class ModelOffer {
  readonly #models = new Map<ServedModel, Offered>();
  /** The one in place, by name. */
  readonly #current = new Map<string, ServedModel>();
  /** When each object was put, by the monotonic clock. */
  readonly #put = new Map<string, Milliseconds>();
  readonly #closed = new AbortController();
  #bus: Bus | undefined;
  #logger: Logger | undefined;
  #timer: NodeJS.Timeout | undefined;
  #refresher: NodeJS.Timeout | undefined;
  #looker: NodeJS.Timeout | undefined;
  #offering: Promise<void> | undefined;
  #isDue = false;
  #number = 0;

  /** Of the list that the bus has; 0 before the first. */
  get number(): number {
    return this.#number;
  }

  /** Name of the object of a model that is offered. */
  objectOf(served: ServedModel): string | undefined {
    return this.#models.get(served)?.listed.object;
  }

  /** Models that are at hand. */
  served(): IterableIterator<ServedModel> {
    return this.#models.keys();
  }

  /** A model that is at hand from now on. */
  add(served: ServedModel, verified: VerifiedModel): void {
    const bundle = encodeBundle(verified);
    if (bundle === undefined) return;
    const { name, version, digest } = served.info;
    const { operatingPoint } = served;
    const object = bundleName(bundle);
    const listed = { name, version, digest, object, ...(operatingPoint !== undefined && { operatingPoint }) };
    this.#models.set(served, { verified, listed });
    this.#changed();
  }

  /** It is the one in place under its name. */
  place(served: ServedModel): void {
    this.#current.set(served.info.name, served);
    this.#changed();
  }

  /** Nothing is in place under a name any longer, and none of its versions is to be had. */
  withdraw(name: string): void {
    this.#current.delete(name);
    for (const served of this.#models.keys()) if (served.info.name === name) this.#models.delete(served);
    this.#changed();
  }

  /** It is not at hand any longer. */
  remove(served: ServedModel): void {
    if (this.#models.delete(served)) this.#changed();
  }

  /** Offers over this bus from now on; the caller closes it. */
  join(bus: Bus, logger: Logger): void {
    this.#bus = bus;
    this.#logger = logger;
    this.#refresher = setInterval(() => {
      this.#put.clear();
      this.#changed();
    }, REFRESH_MS).unref();
    this.#looker = setInterval(() => void this.look(), LOOK_MS).unref();
    this.#changed();
  }

  /** Offers all of it again where the bus has another list than the one that was put there. */
  async look(): Promise<void> {
    if (this.#bus === undefined || this.#number === 0 || this.#offering !== undefined) return;
    const number = this.#number;
    try {
      const found = await this.#bus.get(LIST_KEY);
      if (found !== undefined && tryDecode(found.data)?.number === number) return;
    } catch (error) {
      // A bus that is away has what it had.
      if (!(error instanceof BusError) || error.code !== 'bus.seal-broken') return;
    }
    if (number !== this.#number) return;
    this.#logger?.error({ list: number }, 'the list of models was lost or replaced; it is offered again');
    this.#put.clear();
    this.#changed();
  }

  /** What was offered stays on the bus: workers go on while the owner starts again. */
  async close(): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#timer);
    clearInterval(this.#refresher);
    clearInterval(this.#looker);
    await this.#offering;
  }

  #changed(): void {
    if (this.#bus === undefined || this.#closed.signal.aborted) return;
    this.#isDue = true;
    if (this.#offering !== undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#offering = this.#offer(this.#bus as Bus).finally(() => {
        this.#offering = undefined;
      });
    }, GATHER_MS).unref();
  }

  /** Until the bus has what is at hand now. */
  async #offer(bus: Bus): Promise<void> {
    const { signal } = this.#closed;
    for (let pause = FIRST_PAUSE; this.#isDue && !signal.aborted; ) {
      this.#isDue = false;
      try {
        await this.#say(bus);
        pause = FIRST_PAUSE;
      } catch (error) {
        this.#isDue = true;
        const code = error instanceof GuardianError ? error.code : 'unknown';
        this.#logger?.error({ code }, 'models could not be offered to workers; it is tried again');
        await wait(pause, undefined, { signal, ref: false }).catch(() => {});
        pause = Math.min(LONGEST_PAUSE, pause * 2);
      }
    }
  }

  async #say(bus: Bus): Promise<void> {
    const models = [...this.#models].map(([served, { listed, verified }]) => ({
      listed: { ...listed, isCurrent: this.#current.get(listed.name) === served },
      verified,
    }));
    for (const { listed, verified } of models) {
      if (this.#put.has(listed.object)) continue;
      const bundle = encodeBundle(verified);
      if (bundle === undefined) continue;
      await bus.putObject(listed.object, bundle);
      this.#put.set(listed.object, performance.now());
    }
    const list = unlike(models.map(({ listed }) => listed));
    const before = await this.#list(bus, list);
    const wanted = new Set(list.map(({ object }) => object));
    for (const object of new Set([...this.#put.keys(), ...before])) {
      if (wanted.has(object)) continue;
      await bus.deleteObject(object);
      this.#put.delete(object);
    }
  }

  /** Puts the list under a number above all before it. Gives the objects of the one that it took the place of. */
  async #list(bus: Bus, models: readonly ListedModel[]): Promise<readonly string[]> {
    for (;;) {
      const found = await bus.get(LIST_KEY).catch((error: unknown) => {
        // Somebody without the key wrote over it: it says nothing.
        if (error instanceof BusError && error.code === 'bus.seal-broken') return undefined;
        throw error;
      });
      const before = found === undefined ? undefined : tryDecode(found.data);
      // By the clock, should the bus have lost the list before.
      const number = Math.max(this.#number + 1, (before?.number ?? 0) + 1, Math.floor(Date.now()));
      const revision = await bus.put(LIST_KEY, encodeList({ number, models: [...models] }), found?.revision);
      if (revision === undefined) continue;
      this.#number = number;
      return before?.models.map(({ object }) => object) ?? [];
    }
  }
}

/** Each object once: a version that was loaded again is at hand twice until the requests of the first have ended. */
function unlike(models: readonly ListedModel[]): readonly ListedModel[] {
  const byObject = new Map<string, ListedModel>();
  for (const listed of models) {
    const other = byObject.get(listed.object);
    if (other === undefined || listed.isCurrent || !other.isCurrent) byObject.set(listed.object, listed);
  }
  return [...byObject.values()];
}

function tryDecode(bytes: Uint8Array): ModelList | undefined {
  try {
    return decodeList(bytes);
  } catch {
    return undefined;
  }
}
