import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import type { z } from 'zod';
import { type Clock, GuardianError, type Logger, type Metrics, type Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import { type LoadedSchema, parseSchema } from '../../features/index.ts';
import { type VerifiedModel, verifyExportFiles } from '../../registry/index.ts';
import type { inferenceConfigSchema } from '../config.ts';
import { Engine } from '../engine.ts';
import { InferenceError } from '../errors.ts';
import { bundleName, decodeBundle } from './model-bundle.ts';
import { decodeList, LIST_KEY, LIST_PREFIX, type ListedModel, type ModelList } from './model-list.ts';
import { scoreSubject } from './score-frames.ts';
import { answerScoring } from './score-responder.ts';
import { WorkerBeacon } from './worker-beacon.ts';
import type { WorkerTrust } from './worker-trust.ts';

export interface InferenceWorkerOptions {
  /** Sealed: models travel over it as plaintext of their own. The caller closes it, after the worker. */
  readonly bus: Bus;
  /** Of the worker's own machine; nothing on the bus adds to it. */
  readonly trust: WorkerTrust;
  /** Threads that score; 0 scores on this thread. */
  readonly threads: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** Name on the bus: a-z, 0-9 and dashes; host and process by default. */
  readonly id?: string;
  /** The section `inference`; its threads and fallback are the worker's own. */
  readonly config?: z.input<typeof inferenceConfigSchema>;
}

export interface InferenceWorkerStatus {
  /** Of the list that is in place; 0 before the first. */
  readonly list: number;
  /** In place and warm, as name@version. */
  readonly models: readonly string[];
  /** Models of that list that did not verify or load, as name@version, and why, by code. */
  readonly refused: Readonly<Record<string, string>>;
  /** Lists that were not newer than the one in place, or were none. */
  readonly ignored: number;
  /** Batches that were scored for the owner, and those that were refused. */
  readonly answered: number;
}

/** A worker's engine, with the models that the owner serves. */
export interface InferenceWorker {
  readonly id: string;
  readonly engine: Engine;
  readonly status: InferenceWorkerStatus;
  /** A model is in place, and the worker is not going. */
  readonly isReady: boolean;
  /** The schema of the model in place under a name. */
  schemaOf(model: string): LoadedSchema | undefined;
  /** Resolves once a list of the owner has been put in place; at once where one has. */
  followed(): Promise<void>;
  /** Takes no more requests, answers those under way, and ends the threads. */
  close(): Promise<void>;
}

/** A model of the list, in place or at hand. */
interface Held {
  readonly listed: ListedModel;
  readonly verified: VerifiedModel;
  /** Ends answering for it; absent while the bus did not take us on. */
  readonly stop?: () => Promise<void>;
}

const FIRST_PAUSE: Milliseconds = 500;
const LONGEST_PAUSE: Milliseconds = 15_000;

/**
 * Joins as an inference worker: follows the owner's list of models, verifies each with its own trust, warms it up, and scores
 * batches for the owner in the queue groups of the models that it has. Resolves when it listens; models come after.
 */
export async function startInferenceWorker(options: InferenceWorkerOptions): Promise<InferenceWorker> {
  const worker = new FollowingWorker(options);
  await worker.engine.start();
  worker.follow();
  return worker;
}

/** Host and process, as a name on the bus. */
export function defaultWorkerId(): string {
  const host = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return `${host.slice(0, 48) || 'worker'}-${process.pid}`;
}

class FollowingWorker implements InferenceWorker {
  readonly id: string;
  readonly engine: Engine;
  readonly #options: InferenceWorkerOptions;
  readonly #beacon: WorkerBeacon;
  readonly #closed = new AbortController();
  /** By object. */
  readonly #held = new Map<string, Held>();
  readonly #schemas = new Map<string, LoadedSchema>();
  #refused: Record<string, string> = {};
  #list = 0;
  #ignored = 0;
  #answered = 0;
  #newest: ModelList | undefined;
  /** Aborts when a list comes. */
  #news = new AbortController();
  #applying: Promise<void> | undefined;
  #following: Promise<void> = Promise.resolve();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #first = Promise.withResolvers<void>();

  constructor(options: InferenceWorkerOptions) {
    const { clock, config, threads, id = defaultWorkerId(), metrics, bus } = options;
    this.#options = options;
    this.id = id;
    // What stands in for a model that fails is for whoever asked: here, nothing does.
    this.engine = new Engine({ clock, config: { ...config, workers: threads, fallbackStrategy: 'reject' } });
    this.#beacon = new WorkerBeacon(bus, { id, threads: Math.max(1, threads) });
    metrics.gauge('worker_models', 'Models that this worker has in place.', () => this.#held.size);
    metrics.gauge('worker_list', 'Number of the list of models that is in place.', () => this.#list);
    metrics.gauge(
      'worker_refused_models',
      'Models of that list that did not verify or load.',
      () => Object.keys(this.#refused).length,
    );
    metrics.counted('worker_batches_total', 'Batches for the owner, by outcome.', 'outcome', () => ({
      answered: this.#answered,
    }));
  }

  get status(): InferenceWorkerStatus {
    return {
      ...{ list: this.#list, ignored: this.#ignored, answered: this.#answered },
      models: [...this.#held.values()].map(({ listed }) => labelOf(listed)),
      refused: { ...this.#refused },
    };
  }

  get isReady(): boolean {
    return this.#held.size > 0 && !this.#closed.signal.aborted;
  }

  schemaOf(model: string): LoadedSchema | undefined {
    return this.#schemas.get(model);
  }

  followed(): Promise<void> {
    return this.#first.promise;
  }

  follow(): void {
    this.#following = this.#watch();
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    // Said first, so that nobody counts on it while it answers what it has.
    await this.#beacon.close();
    await this.#following;
    await this.#applying;
    await Promise.all([...this.#held.values()].map(({ stop }) => stop?.().catch(() => {})));
    await Promise.all(this.#underWay);
    await this.engine.close();
  }

  async #watch(): Promise<void> {
    const { bus } = this.#options;
    const { signal } = this.#closed;
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(LONGEST_PAUSE, pause * 2)) {
      try {
        for await (const { key, data } of bus.watch(LIST_PREFIX, signal)) {
          pause = FIRST_PAUSE;
          if (key === LIST_KEY) this.#take(data);
        }
      } catch (error) {
        this.#tell(error, 'the list of models cannot be followed; the bus is asked again');
      }
      if (!signal.aborted) await wait(pause, undefined, { signal }).catch(() => {});
    }
  }

  #take(data: Uint8Array): void {
    let list: ModelList;
    try {
      list = decodeList(data);
    } catch (error) {
      this.#ignored++;
      this.#tell(error, 'a list of models was ignored');
      return;
    }
    // The same one comes again when the bus is back; an older one was kept by somebody.
    if (list.number <= (this.#newest?.number ?? 0)) {
      if (list.number < (this.#newest?.number ?? 0)) this.#ignored++;
      return;
    }
    this.#newest = list;
    this.#news.abort();
    this.#applying ??= this.#apply().finally(() => {
      this.#applying = undefined;
    });
  }

  /** Puts the newest list in place, and the one that came meanwhile behind it. */
  async #apply(): Promise<void> {
    const { signal } = this.#closed;
    for (let pause = FIRST_PAUSE; !signal.aborted; ) {
      const list = this.#newest as ModelList;
      this.#news = new AbortController();
      const isWhole = await this.#put(list);
      if (list === this.#newest) {
        this.#first.resolve();
        if (isWhole) return;
        // The bus may have been away, or the owner may be about to put an object.
        await wait(pause, undefined, { signal: AbortSignal.any([signal, this.#news.signal]) }).catch(
          () => {},
        );
        pause = Math.min(LONGEST_PAUSE, pause * 2);
      } else pause = FIRST_PAUSE;
    }
  }

  /** First what is new, then what is gone: a name that is listed before and after is answered without a pause. */
  async #put(list: ModelList): Promise<boolean> {
    // A withdrawal waits for nothing.
    for (const [object, held] of this.#held) {
      const isNamed = list.models.some(({ name }) => name === held.listed.name);
      if (!isNamed) await this.#forget(object, held, list);
    }
    let isWhole = true;
    const refused: Record<string, string> = {};
    // Those that stand by come first: they are behind the one that is put in place after them.
    const models = [...list.models].sort((a, b) => Number(a.isCurrent) - Number(b.isCurrent));
    for (const listed of models) {
      if (this.#closed.signal.aborted) return true;
      try {
        await this.#hold(listed);
      } catch (error) {
        const isKnown = error instanceof GuardianError;
        refused[labelOf(listed)] = isKnown ? error.code : 'unknown';
        // Missing objects are put again by their owner.
        if (isKnown && (error.retry || error.code === 'bus.object-missing')) isWhole = false;
        this.#tell(error, `${labelOf(listed)} of the owner's list was refused`);
      }
    }
    const wanted = new Map(list.models.map((listed) => [listed.object, listed]));
    for (const [object, held] of this.#held) {
      if (!wanted.has(object)) await this.#forget(object, held, list);
    }
    this.#refused = refused;
    this.#list = list.number;
    const answering = [...this.#held].filter(([, { stop }]) => stop !== undefined);
    await this.#beacon.ready(answering.map(([object]) => object));
    return isWhole;
  }

  async #hold(listed: ListedModel): Promise<void> {
    const { name, version, object, isCurrent, operatingPoint } = listed;
    const held = this.#held.get(object);
    const isPlaced = held !== undefined && this.engine.current(name)?.version === version;
    const isSame = held?.listed.operatingPoint === operatingPoint;
    const isInPlace = held !== undefined && isSame && isPlaced === isCurrent;
    if (isInPlace && held.stop !== undefined) return;
    const verified = held?.verified ?? (await this.#fetch(listed));
    if (isCurrent && !isInPlace) {
      const schema = parseSchema(verified.schemaBytes, `the schema of ${name}`);
      await this.engine.load(verified, { operatingPoint });
      this.#schemas.set(name, schema);
    } else if (!isPlaced && !isInPlace) await this.engine.hold(verified, { operatingPoint });
    const { schemaId, sourceKinds } = verified;
    // Noted before it is answered for: it has to be found when it is withdrawn.
    this.#held.set(object, { listed, verified, ...(held?.stop && { stop: held.stop }) });
    const schema = { schemaId, sourceKind: sourceKinds[0] ?? '' };
    const stop =
      held?.stop ??
      (await this.#options.bus.respond(scoreSubject(object), (frame) => {
        const answer = answerScoring(this.engine, listed, schema, frame);
        this.#underWay.add(answer);
        return answer.finally(() => {
          this.#answered++;
          this.#underWay.delete(answer);
        });
      }));
    this.#held.set(object, { listed, verified, stop });
  }

  /** Bytes of that digest, signed by whom this worker trusts, and the very model that was listed. */
  async #fetch({ object, name, version, digest }: ListedModel): Promise<VerifiedModel> {
    const { bus, trust } = this.#options;
    const bytes = await bus.getObject(object);
    if (bundleName(bytes) !== object) {
      throw new InferenceError('inference.offer-refused', `the object of ${name}@${version} has other bytes`);
    }
    const { publicKeysPem, rootCertificatesPem } = trust;
    const { model } = await verifyExportFiles(decodeBundle(bytes), publicKeysPem, { rootCertificatesPem });
    if (model.name !== name || model.version !== version || model.digest !== digest) {
      throw new InferenceError(
        'inference.offer-refused',
        `${name}@${version} was listed, its object holds ${model.name}@${model.version}`,
      );
    }
    return model;
  }

  async #forget(object: string, { listed, stop }: Held, list: ModelList): Promise<void> {
    this.#held.delete(object);
    await stop?.().catch(() => {});
    const { name, version } = listed;
    const stays = [...this.#held.values()].some((other) => other.listed.name === name);
    const isListed = list.models.some((other) => other.name === name);
    if (this.engine.release(name, version)) return;
    // In place still: its successor was refused, or there is none. What the owner withdrew does not answer.
    if (this.engine.current(name)?.version !== version) return;
    this.engine.unload(name);
    this.#schemas.delete(name);
    if (stays || isListed) await this.#holdAgain(name);
  }

  /** Unloading a name takes every version of it out; those that are listed come back. */
  async #holdAgain(name: string): Promise<void> {
    for (const { listed, verified } of this.#held.values()) {
      if (listed.name !== name) continue;
      const { operatingPoint } = listed;
      await this.engine.hold(verified, { operatingPoint }).catch((error: unknown) => {
        this.#tell(error, `${labelOf(listed)} could not be held`);
      });
    }
  }

  #tell(error: unknown, what: string): void {
    const code = error instanceof GuardianError ? error.code : 'unknown';
    this.#options.logger.error({ code, worker: this.id }, what);
  }
}

function labelOf({ name, version }: ListedModel): string {
  return `${name}@${version}`;
}
