import type { Clock, Milliseconds } from '../../base/index.ts';
import type { OperatingPointName } from '../../models/index.ts';
import { threadEvidence, type VerifiedModel } from '../../registry/index.ts';
import type { BatchPool } from './batch-pool.ts';
import { PoolThread } from './pool-thread.ts';

export interface ThreadPoolOptions {
  readonly threads: number;
  /** Of a batch, at most. */
  readonly rows: number;
  readonly clock: Clock;
  /** Told whenever a thread has become free. */
  readonly onFree: () => void;
  /** Code of a thread; that of this folder by default. */
  readonly entry?: URL;
}

export interface PoolStats {
  readonly threads: number;
  readonly busy: number;
  /** Threads that ended without being asked to, since the start. */
  readonly lost: number;
  /** Models that a thread could not make its own. */
  readonly refused: number;
}

interface PooledModel {
  readonly id: number;
  readonly verified: VerifiedModel;
  readonly operatingPoint: OperatingPointName | undefined;
}

const FIRST_BACKOFF: Milliseconds = 100;
const MAX_BACKOFF: Milliseconds = 10_000;
/** A thread that lived so long is no sign of a fault that comes back at once. */
const SOUND_AFTER: Milliseconds = 60_000;
const PINGS = 32;
/** There and back, until it was measured. */
const HOP: Milliseconds = 0.03;

/** Threads that score batches, each with the models it has verified by itself. A thread that ends is replaced, with backoff. */
export class ThreadPool implements BatchPool {
  readonly #options: ThreadPoolOptions;
  readonly #threads = new Set<PoolThread>();
  readonly #models = new Map<object, PooledModel>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #nextId = 1;
  #lost = 0;
  #refused = 0;
  #failures = 0;
  #hopMs: Milliseconds = HOP;
  #started: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
  }

  get stats(): PoolStats {
    let busy = 0;
    for (const thread of this.#threads) if (!thread.isFree) busy++;
    return { threads: this.#threads.size, busy, lost: this.#lost, refused: this.#refused };
  }

  get width(): number {
    return Math.max(1, this.#threads.size);
  }

  /** What an order costs there and back, as measured at the start. */
  get hopMs(): Milliseconds {
    return this.#hopMs;
  }

  /** Starts the threads, at the first call; resolves when they have the models known by then. Never rejects. */
  start(): Promise<void> {
    this.#started ??= Promise.all(
      Array.from({ length: this.#options.threads }, () => this.#startThread()),
    ).then(() => {});
    return this.#started;
  }

  /**
   * Makes a model known under a key, to be asked at one of its operating points; where the pool has started, resolves when each
   * thread has tried to load it.
   */
  async add(key: object, verified: VerifiedModel, operatingPoint?: OperatingPointName): Promise<void> {
    const model = { id: this.#nextId++, verified, operatingPoint };
    this.#models.set(key, model);
    if (this.#started === undefined) return;
    await Promise.all([...this.#threads].map((thread) => this.#load(thread, model)));
  }

  remove(key: object): void {
    const model = this.#models.get(key);
    if (!this.#models.delete(key) || model === undefined) return;
    for (const thread of this.#threads) {
      void this.#inTurn(thread, () => (thread.models.has(model.id) ? thread.unload(model.id) : undefined));
    }
  }

  /** Whether a thread has the model, free or not. */
  has(key: object): boolean {
    const id = this.#models.get(key)?.id;
    if (id === undefined) return false;
    for (const thread of this.#threads) if (thread.models.has(id)) return true;
    return false;
  }

  /** Whether a thread that has the model is free. */
  isFree(key: object): boolean {
    const id = this.#models.get(key)?.id;
    if (id === undefined) return false;
    for (const thread of this.#threads) if (thread.isFree && thread.models.has(id)) return true;
    return false;
  }

  /** A free thread that has the model; the caller's until it is released. */
  take(key: object): PoolThread | undefined {
    const id = this.#models.get(key)?.id;
    if (id === undefined) return undefined;
    for (const thread of this.#threads) if (thread.models.has(id) && thread.tryTake()) return thread;
    return undefined;
  }

  release(thread: PoolThread): void {
    thread.release();
    if (thread.isFree) this.#options.onFree();
  }

  /** Scores `rows` rows in `thread.values` by the model of this key. Rejects `inference.model-failed`, `.worker-lost`. */
  async run(thread: PoolThread, key: object, rows: number): Promise<undefined> {
    await thread.run(this.#models.get(key)?.id ?? 0, rows);
    return undefined;
  }

  /** Ends a thread that does not answer; another takes its place. */
  end(thread: PoolThread): void {
    void thread.end();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.#threads].map((thread) => thread.end()));
  }

  async #startThread(): Promise<void> {
    const { entry = new URL('./pool-worker.ts', import.meta.url), rows, clock } = this.#options;
    const began = clock.monotonic();
    const thread = new PoolThread({ entry, rows, onLost: () => this.#replace(thread, began) });
    this.#threads.add(thread);
    await this.#inTurn(thread, () => this.#measure(thread));
    await Promise.all([...this.#models.values()].map((model) => this.#load(thread, model)));
  }

  /** The best of some: the first ones find cold code and a thread that still starts. */
  async #measure(thread: PoolThread): Promise<void> {
    const { clock } = this.#options;
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < PINGS; i++) {
      const began = clock.monotonic();
      await thread.ping();
      best = Math.min(best, clock.monotonic() - began);
    }
    if (best > 0) this.#hopMs = best;
  }

  async #load(thread: PoolThread, { id, verified, operatingPoint }: PooledModel): Promise<void> {
    const evidence = threadEvidence(verified);
    const columns = verified.model.columnNames.length;
    if (evidence === undefined) return;
    const load = () => thread.load({ do: 'load', model: id, evidence, operatingPoint }, columns);
    if (!(await this.#inTurn(thread, load))) this.#refused++;
  }

  /** Carries out orders in turn with others, and no one else's between them. Whether it did. */
  async #inTurn(thread: PoolThread, work: () => Promise<void> | undefined): Promise<boolean> {
    if (!(await thread.take())) return false;
    try {
      await work();
      return true;
    } catch {
      return false;
    } finally {
      this.release(thread);
    }
  }

  #replace(thread: PoolThread, began: Milliseconds): void {
    this.#threads.delete(thread);
    if (this.#isClosed) return;
    this.#lost++;
    this.#failures = this.#options.clock.monotonic() - began >= SOUND_AFTER ? 0 : this.#failures + 1;
    const backoff = Math.min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** Math.max(0, this.#failures - 1));
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#startThread();
    }, backoff).unref();
    this.#timers.add(timer);
  }
}
