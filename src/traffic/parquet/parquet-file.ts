import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Milliseconds } from '../../base/index.ts';
import { TrafficError, type TrafficErrorCode } from '../errors.ts';
import { malformed, type ParquetCell, type ParquetLimits } from './parquet-limits.ts';
import type { ParquetRequest, ParquetTask } from './parquet-worker.ts';

export interface ParquetFileOptions {
  readonly limits: Partial<ParquetLimits>;
  /** Time that opening, or one row group, may take. */
  readonly patienceMs: Milliseconds;
}

const PATIENCE: Milliseconds = 60_000;
const WORKER_MEGABYTES = 2_048;

type Answer = { readonly value: unknown } | { readonly code: TrafficErrorCode; readonly message: string };

interface Description {
  readonly columns: readonly string[];
  readonly rows: number;
  readonly groups: number;
}

/**
 * A Parquet file of flat columns, decoded by a thread of its own: a damaged or hostile file can make a decoder loop or
 * fill the memory, and only a thread can be ended. Whatever is wrong, every limit it breaks and every time it takes
 * too long throws `traffic.parquet-malformed`; `traffic.source-missing` where it cannot be opened.
 */
export class ParquetFile {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #patienceMs: Milliseconds;
  #groups = 0;
  /** Names of the columns that are plain values, in the order of the file. */
  columns: readonly string[] = [];
  rows = 0;

  private constructor(task: ParquetTask, patienceMs: Milliseconds) {
    this.#path = task.path;
    this.#patienceMs = patienceMs;
    this.#worker = new Worker(new URL('./parquet-worker.ts', import.meta.url), {
      workerData: task,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_MEGABYTES },
    });
  }

  static async open(path: string, options: Partial<ParquetFileOptions> = {}): Promise<ParquetFile> {
    return await ParquetFile.#start(path, undefined, options);
  }

  /** As `open`, for a file whose bytes are at hand; they are copied. `path` is for messages. */
  static async of(
    bytes: Uint8Array,
    path: string,
    options: Partial<ParquetFileOptions> = {},
  ): Promise<ParquetFile> {
    return await ParquetFile.#start(path, bytes, options);
  }

  static async #start(
    path: string,
    bytes: Uint8Array | undefined,
    { limits = {}, patienceMs = PATIENCE }: Partial<ParquetFileOptions>,
  ): Promise<ParquetFile> {
    const file = new ParquetFile({ path, bytes, limits }, patienceMs);
    const { columns, rows, groups } = (await file.#answer()) as Description;
    file.columns = columns;
    file.rows = rows;
    file.#groups = groups;
    return file;
  }

  /** The row groups one after the other: for each name an array of cells, all of one length. */
  async *groups(names: readonly string[]): AsyncGenerator<ReadonlyMap<string, readonly ParquetCell[]>> {
    for (let group = 0; group < this.#groups; group++) {
      this.#worker.postMessage({ group, names } satisfies ParquetRequest);
      yield (await this.#answer()) as ReadonlyMap<string, readonly ParquetCell[]>;
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  /** The thread's next answer; after a failure there is no thread any more. */
  async #answer(): Promise<unknown> {
    const patience = AbortSignal.timeout(this.#patienceMs);
    let answer: Answer;
    try {
      [answer] = (await once(this.#worker, 'message', { signal: patience })) as [Answer];
    } catch (error) {
      await this.close();
      const why = patience.aborted ? 'decoding it takes too long' : 'decoding it fails';
      throw malformed(this.#path, why, error);
    }
    if ('value' in answer) return answer.value;
    await this.close();
    throw new TrafficError(answer.code, answer.message);
  }
}
