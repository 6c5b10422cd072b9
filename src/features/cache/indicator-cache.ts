import type { Bytes, Clock, Logger, Milliseconds } from '../../base/index.ts';
import type { IndicatorAnswer, IndicatorLookup } from './indicator-lookup.ts';
import { RefreshedCache } from './refreshed-cache.ts';

export interface IndicatorCacheOptions {
  readonly lookup: IndicatorLookup;
  readonly ttlMs: Milliseconds;
  readonly negativeTtlMs: Milliseconds;
  readonly budgetBytes: Bytes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** The object of an answer and the array of its labels. */
const ANSWER_BYTES: Bytes = 120;

/** Answers of threat intelligence by address or name, asked for in the background; see `RefreshedCache`. */
export class IndicatorCache {
  readonly answers: RefreshedCache<IndicatorAnswer>;
  readonly #lookup: IndicatorLookup;

  constructor({ lookup, random = Math.random, ...options }: IndicatorCacheOptions) {
    this.#lookup = lookup;
    this.answers = new RefreshedCache({
      ...options,
      ...{ name: 'indicators', dependsOn: ['indicators'], random },
      sizeOf: ({ labels, version }) =>
        ANSWER_BYTES + labels.reduce((sum, label) => sum + 2 * label.length, 2 * version.length),
      // Not being listed is an answer like an empty one: it holds for the shorter time.
      ask: async (key, signal) => {
        const answer = await lookup.lookup(key, signal);
        return answer.state === 'missing' ? undefined : answer;
      },
    });
  }

  /** Never waits; `missing` is both not listed and not known yet. An answer of another version of the set is forgotten. */
  read(addressOrName: string, atMs: Milliseconds): IndicatorAnswer {
    const { version } = this.#lookup;
    this.answers.cache.stamp('indicators', '', version);
    const { state, known } = this.answers.read(addressOrName, atMs);
    const answer = known?.value;
    if (answer === undefined || state === 'missing') return { state: 'missing', labels: [], version };
    // Old news of a listing is told as old, and an answer that was stale or invalid itself stays so.
    return { ...answer, state: state === 'present' ? answer.state : state };
  }
}
