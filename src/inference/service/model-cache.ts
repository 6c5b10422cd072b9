import type { Bytes } from '../../base/index.ts';
import { InferenceError } from '../errors.ts';

export interface ModelCacheStats {
  readonly models: number;
  readonly bytes: Bytes;
  /** What they may take now. */
  readonly budgetBytes: Bytes;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

interface Entry<T> {
  readonly value: T;
  readonly bytes: Bytes;
}

/**
 * Models at hand under a memory budget. Those in use stay, whatever they take; of the others the one unused longest goes
 * first. The budget shrinks while memory is short; what is in use is held to the whole one.
 */
export class ModelCache<T> {
  readonly #budgetBytes: Bytes;
  readonly #onLeave: (value: T) => void;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry<T>>();
  #share = 1;
  #bytes: Bytes = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  /** `onLeave` is told of each model that goes, whyever. */
  constructor(budgetBytes: Bytes, onLeave: (value: T) => void = () => {}) {
    this.#budgetBytes = budgetBytes;
    this.#onLeave = onLeave;
  }

  get stats(): ModelCacheStats {
    return {
      models: this.#entries.size,
      bytes: this.#bytes,
      budgetBytes: this.#budgetBytes * this.#share,
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
    };
  }

  /** Counts as a use. */
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** As `get`, but nothing is counted. */
  peek(key: string): T | undefined {
    return this.#entries.get(key)?.value;
  }

  /**
   * Takes a model in, in the place of one of the same key. `inUse` says which keys are in use once it is in. Throws
   * `inference.model-memory`, and then nothing has changed.
   */
  put(
    key: string,
    model: { readonly value: T; readonly bytes: Bytes },
    inUse: (key: string) => boolean,
  ): void {
    let kept = model.bytes;
    for (const [other, { bytes }] of this.#entries) if (other !== key && inUse(other)) kept += bytes;
    if (kept > this.#budgetBytes) {
      throw new InferenceError(
        'inference.model-memory',
        `${key} takes ${model.bytes} bytes; with what serves that is ${kept} of ${this.#budgetBytes}`,
      );
    }
    this.delete(key);
    this.#entries.set(key, model);
    this.#bytes += model.bytes;
    this.#evict((other) => other === key || inUse(other));
  }

  /** Whether it was there. */
  delete(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    this.#onLeave(entry.value);
    return true;
  }

  deleteWhere(matches: (key: string) => boolean): void {
    for (const key of this.#entries.keys()) if (matches(key)) this.delete(key);
  }

  /** How much of the budget may be used from now on, in [0, 1]. */
  limit(share: number, inUse: (key: string) => boolean): void {
    if (share === this.#share) return;
    this.#share = share;
    this.#evict(inUse);
  }

  #evict(isKept: (key: string) => boolean): void {
    const budget = this.#budgetBytes * this.#share;
    for (const key of this.#entries.keys()) {
      if (this.#bytes <= budget) return;
      if (isKept(key)) continue;
      this.delete(key);
      this.#evictions++;
    }
  }
}
