import type { Milliseconds } from '../../base/index.ts';
import type { GraphModel, ScoreBatchBuffers } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import type { ModelRuntime } from '../model-runtime.ts';
import { RUNTIME_DEFAULTS, type RuntimeConfig } from './config.ts';
import type { ProviderTrial } from './frames.ts';
import { GraphProcess } from './graph-process.ts';

export interface GraphRuntimeOptions {
  readonly config?: RuntimeConfig;
  /** Rows of a batch at most. */
  readonly batchRows: number;
  /** Stands for `/` where control groups are looked for. */
  readonly root?: string;
  /** Name of the package; another in tests. */
  readonly runtime?: string;
}

/** What computes a graph now. */
export interface GraphRuntimeReport {
  readonly pid: number | undefined;
  readonly provider: string;
  readonly fromRows: number;
  readonly trials: readonly ProviderTrial[];
  /** What holds the process to its memory. */
  readonly memory: 'cgroup' | 'watch';
  readonly residentBytes: number;
  /** Processes that ended without being asked to. */
  readonly lost: number;
  /** What was told of a provider that failed after it had been chosen. */
  readonly notes: readonly string[];
}

const FIRST_BACKOFF: Milliseconds = 100;
const MAX_BACKOFF: Milliseconds = 10_000;
/** A process that lived so long is no sign of a fault that comes back at once. */
const SOUND_AFTER: Milliseconds = 60_000;
/** Whoever would have to wait longer for another process is refused. */
const PATIENCE: Milliseconds = 1_000;

/**
 * A foreign graph in a process of its own, and another one when that is lost, with backoff. Only the batch that a process had when
 * it was lost fails; those behind it wait for the next process.
 */
export class GraphRuntime implements ModelRuntime {
  readonly kind = 'asynchronous';
  readonly #model: GraphModel;
  readonly #options: GraphRuntimeOptions;
  readonly #given: Float32Array;
  #process: GraphProcess | undefined;
  #next: Promise<GraphProcess> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #dueAt: Milliseconds = 0;
  #startedAt: Milliseconds = 0;
  #failures = 0;
  #lost = 0;
  #report: Pick<GraphRuntimeReport, 'provider' | 'fromRows' | 'trials'> = {
    ...{ provider: 'cpu', fromRows: 1, trials: [] },
  };
  #isClosed = false;
  #cancelWait: (() => void) | undefined;

  private constructor(model: GraphModel, options: GraphRuntimeOptions) {
    this.#model = model;
    this.#options = options;
    this.#given = new Float32Array(options.batchRows);
  }

  /**
   * Loads the graph in a process. Throws `inference.runtime-missing`, `inference.model-failed` where the runtime refuses it,
   * `inference.runtime-lost` where it takes more memory than it may, `inference.timeout`.
   */
  static async open(model: GraphModel, options: GraphRuntimeOptions): Promise<GraphRuntime> {
    const runtime = new GraphRuntime(model, options);
    try {
      runtime.#process = await runtime.#start();
    } catch (error) {
      await runtime.close();
      throw error;
    }
    return runtime;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get report(): GraphRuntimeReport {
    const { pid, limit = 'watch', residentKib = 0, notes = [] } = this.#process ?? {};
    return {
      ...this.#report,
      ...{ pid, memory: limit, residentBytes: residentKib * 1024, lost: this.#lost, notes },
    };
  }

  /** As `ModelRuntime.score`. Rejects `inference.runtime-lost`, `.timeout`, `.model-failed`, `.cancelled`. */
  score(values: Float32Array, rows: number, out: ScoreBatchBuffers, signal?: AbortSignal): Promise<void> {
    if (rows > this.#given.length || values.length < rows * this.#model.columnNames.length) {
      return Promise.reject(
        new InferenceError('inference.bad-batch', `expected at most ${this.#given.length} rows, got ${rows}`),
      );
    }
    const scored = this.#turn.then(async () => {
      if (signal?.aborted) throw cancelled();
      const process = await this.#running();
      // What was withdrawn meanwhile is no longer there to be read.
      if (signal?.aborted) throw cancelled();
      await process.score(values, rows, this.#given);
      if (signal?.aborted) throw cancelled();
      this.#model.finish(this.#given, rows, out);
    });
    this.#turn = scored.catch(() => {});
    return signal === undefined ? scored : untilAborted(scored, signal);
  }

  /** Ends the process; resolves when it is gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#cancelWait?.();
    await this.#process?.end();
    await this.#next?.then(
      (next) => next.end(),
      () => {},
    );
  }

  async #start(): Promise<GraphProcess> {
    const { config = RUNTIME_DEFAULTS, batchRows, root, runtime } = this.#options;
    this.#startedAt = performance.now();
    let isReady = false;
    const started = new GraphProcess(this.#model, {
      ...{ config, batchRows, root, runtime },
      onEnd: (ended) => {
        if (isReady) this.#replace(ended);
      },
    });
    try {
      const { provider, fromRows, trials } = await started.ready;
      isReady = !started.isEnded;
      this.#report = { provider, fromRows, trials };
      return started;
    } catch (error) {
      await started.end();
      throw error;
    }
  }

  /** The process, or the one that is to come. */
  async #running(): Promise<GraphProcess> {
    if (this.#isClosed) throw lost('it was closed');
    const process = this.#process;
    if (process !== undefined && !process.isEnded) return process;
    this.#next ??= this.#restart();
    const waitMs = this.#dueAt - performance.now();
    if (waitMs > PATIENCE) throw lost(`another begins in ${Math.ceil(waitMs)} ms`);
    return await this.#next;
  }

  #replace(ended: GraphProcess): void {
    if (this.#process === ended) this.#process = undefined;
    if (this.#isClosed) return;
    this.#lost++;
    this.#next ??= this.#restart();
  }

  #restart(): Promise<GraphProcess> {
    if (performance.now() - this.#startedAt > SOUND_AFTER) this.#failures = 0;
    const delay = Math.min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** this.#failures++);
    this.#dueAt = performance.now() + delay;
    const next = this.#startAfter(delay);
    next.then(
      (process) => {
        this.#process = process;
        this.#next = undefined;
      },
      () => {
        this.#next = undefined;
      },
    );
    return next;
  }

  async #startAfter(delay: Milliseconds): Promise<GraphProcess> {
    await new Promise<void>((resolve) => {
      this.#cancelWait = resolve;
      this.#timer = setTimeout(resolve, delay);
    });
    this.#cancelWait = undefined;
    if (this.#isClosed) throw lost('it was closed');
    return await this.#start();
  }
}

/** The caller goes on at once; the process is busy until it answers or its deadline passes. */
function untilAborted(scored: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(cancelled());
    signal.addEventListener('abort', abort, { once: true });
    scored.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function cancelled(): InferenceError {
  return new InferenceError('inference.cancelled', 'the batch was withdrawn');
}

function lost(why: string): InferenceError {
  return new InferenceError('inference.runtime-lost', `no process computes the model: ${why}`);
}
