import type { Milliseconds } from '../base/index.ts';
import type { Score } from '../models/index.ts';

/** Batches of so many rows. */
export interface SizedExecutions {
  readonly rows: number;
  readonly count: number;
  /** All of them together. */
  readonly spentMs: Milliseconds;
}

/** What a model version computed since the start, for whichever route. */
export interface ExecutionReport {
  /** Batches, each of one request or of several. */
  readonly count: number;
  readonly rows: number;
  /** By their rows, ascending; batches of further sizes count in the totals only. */
  readonly sizes: readonly SizedExecutions[];
}

/** Model versions that are counted; the one counted first is forgotten for a new one. */
const MAX_MODELS = 64;
/** Sizes of a model that are told apart. */
const MAX_SIZES = 128;
const NOTHING: ExecutionReport = { count: 0, rows: 0, sizes: [] };

class VersionCounts {
  count = 0;
  rows = 0;
  readonly sizes = new Map<number, { count: number; spentMs: Milliseconds }>();

  add(rows: number, took: Milliseconds): void {
    this.count++;
    this.rows += rows;
    let size = this.sizes.get(rows);
    if (size === undefined) {
      if (this.sizes.size >= MAX_SIZES) return;
      size = { count: 0, spentMs: 0 };
      this.sizes.set(rows, size);
    }
    size.count++;
    size.spentMs += took;
  }
}

/** Counts batches by model version; a version that is loaded again goes on with its counts. */
export class Executions {
  readonly #versions = new Map<string, VersionCounts>();
  /** The same by what is in place, which spares the way by name. */
  readonly #known = new WeakMap<object, VersionCounts>();

  /** `served` is the model as it is in place. */
  add(served: { readonly info: Score['model'] }, rows: number, took: Milliseconds): void {
    let counts = this.#known.get(served);
    if (counts === undefined) {
      counts = this.#of(served.info);
      this.#known.set(served, counts);
    }
    counts.add(rows, took);
  }

  read(name: string, version: string): ExecutionReport {
    const counts = this.#versions.get(`${name}@${version}`);
    if (counts === undefined) return NOTHING;
    const sizes = [...counts.sizes]
      .sort(([a], [b]) => a - b)
      .map(([rows, { count, spentMs }]) => ({ rows, count, spentMs }));
    return { count: counts.count, rows: counts.rows, sizes };
  }

  #of({ name, version }: Score['model']): VersionCounts {
    const key = `${name}@${version}`;
    let found = this.#versions.get(key);
    if (found === undefined) {
      if (this.#versions.size >= MAX_MODELS)
        this.#versions.delete(this.#versions.keys().next().value as string);
      found = new VersionCounts();
      this.#versions.set(key, found);
    }
    return found;
  }
}
