import type { Clock } from '../../base/index.ts';
import type { Score } from '../../models/index.ts';
import { threadEvidence, type VerifiedModel } from '../../registry/index.ts';
import type { InferenceConfig } from '../config.ts';
import { InferenceError } from '../errors.ts';
import type { ServedModel } from '../served-model.ts';
import {
  type BreakerCause,
  type BreakerChange,
  type BreakerCounts,
  type BreakerState,
  CircuitBreaker,
} from './circuit-breaker.ts';
import type { Later } from './mirror.ts';
import { ModelCache, type ModelCacheStats } from './model-cache.ts';
import { measureModel } from './model-size.ts';
import type { RolloutReport, RolloutTerms } from './rollout.ts';
import { type NoteRolloutEnd, Rollouts } from './rollouts.ts';

/** A model is no longer asked, or is asked again. */
export interface ModelHealthChange extends BreakerChange {
  readonly model: Score['model'];
}

export type NoteModelHealth = (change: ModelHealthChange) => void;

/** What the breaker of a model says. */
export interface ModelHealth {
  readonly model: Score['model'];
  readonly state: BreakerState;
  readonly cause?: BreakerCause;
  readonly counts: BreakerCounts;
}

export interface ModelServiceOptions {
  readonly config: InferenceConfig;
  readonly clock: Clock;
  /** Models that may be asked, those that stand by included. */
  readonly served: () => Iterable<ServedModel>;
  /** Resolves when the requests that run now have ended. */
  readonly drained: () => Promise<void>;
  /** Told of a model that no request can reach any longer. */
  readonly onClosed?: ((served: ServedModel) => void) | undefined;
  /** In [0, 1); Math.random by default. */
  readonly random?: (() => number) | undefined;
  readonly later?: Later | undefined;
  readonly noteHealth?: NoteModelHealth | undefined;
  readonly noteRolloutEnd?: NoteRolloutEnd | undefined;
}

/** A model with buffers and warm code, and the proof that it was verified. */
interface AtHand {
  readonly served: ServedModel;
  readonly verified: VerifiedModel;
}

/** Which models are at hand, whether each may be asked, and which of them run beside a champion. */
export class ModelService {
  readonly rollouts: Rollouts;
  readonly #options: ModelServiceOptions;
  readonly #cache: ModelCache<AtHand>;

  constructor(options: ModelServiceOptions) {
    this.#options = options;
    this.#cache = new ModelCache(options.config.modelMemoryBytes, ({ served }) => this.#close(served));
    this.rollouts = new Rollouts(options.noteRolloutEnd);
  }

  get cacheStats(): ModelCacheStats {
    return this.#cache.stats;
  }

  /** Gives a model its breaker, before it serves. */
  guard(served: ServedModel): void {
    const { config, random = Math.random } = this.#options;
    const onChange = (change: BreakerChange) => this.#changed(served, change);
    served.breakBy(new CircuitBreaker({ config: config.breaker, random, onChange }));
  }

  /**
   * Takes a model in. `leaves` is the one that will be out of use with it. Throws `inference.model-memory`, and then
   * nothing has changed.
   */
  keep(served: ServedModel, verified: VerifiedModel, leaves?: ServedModel): void {
    const value = { served, verified };
    const inUse = this.#inUse();
    if (leaves !== undefined) inUse.delete(keyOf(leaves.info));
    // The file stays, too: threads verify the model by it.
    const file = threadEvidence(verified)?.weights.length ?? 0;
    const bytes = measureModel(verified.model) + file;
    this.#cache.put(keyOf(served.info), { value, bytes }, (key) => inUse.has(key));
  }

  /** A version at hand; counted as a hit or a miss. */
  find(name: string, version: string): ServedModel | undefined {
    return this.#cache.get(keyOf({ name, version }))?.served;
  }

  /** What was verified of a version at hand: the way back while the key store is away. */
  resident(name: string, version: string): VerifiedModel | undefined {
    return this.#cache.peek(keyOf({ name, version }))?.verified;
  }

  /** Lets go of every version of a name, and ends its rollout. */
  drop(name: string): void {
    this.rollouts.end(name, 'unloaded');
    this.#cache.deleteWhere((key) => key.startsWith(`${name}@`));
  }

  /** Lets go of one version, and ends a rollout of it. Whether it was at hand. */
  dropVersion(name: string, version: string): boolean {
    if (this.rollouts.get(name)?.candidate.info.version === version) this.rollouts.end(name, 'unloaded');
    return this.#cache.delete(keyOf({ name, version }));
  }

  /** Lets a version at hand run beside the champion. Throws `inference.no-model`, `inference.rollout-refused`. */
  startRollout(name: string, version: string, terms: RolloutTerms): RolloutReport {
    const { config, clock, later } = this.#options;
    let champion: ServedModel | undefined;
    for (const served of this.#options.served()) {
      // The one in place comes before the one that stands by.
      if (served.info.name === name) champion ??= served;
    }
    const candidate = this.#cache.peek(keyOf({ name, version }))?.served;
    if (champion === undefined || candidate === undefined) {
      throw new InferenceError(
        'inference.no-model',
        `no champion ${name}, or no ${version} of it, is loaded`,
      );
    }
    const { shadow, confidenceThreshold, timeoutMs } = config;
    return this.rollouts
      .start({
        ...{ champion, candidate, terms, config: shadow, confidenceThreshold, timeoutMs, clock },
        ...(later !== undefined && { later }),
      })
      .report();
  }

  /** What the breakers of the models that may be asked say, candidates included. */
  health(): readonly ModelHealth[] {
    const now = this.#options.clock.monotonic();
    return [...this.#asked()].map(({ info, breaker }) => ({
      model: info,
      state: breaker.state,
      ...(breaker.cause !== undefined && { cause: breaker.cause }),
      counts: breaker.counts(now),
    }));
  }

  /** How much of their memory the models that do not serve may keep, in [0, 1]. */
  limitMemory(share: number): void {
    const inUse = this.#inUse();
    this.#cache.limit(share, (key) => inUse.has(key));
  }

  /** Once no request can reach it: a process of its own ends with it. */
  #close(served: ServedModel): void {
    const close = () => {
      this.#options.onClosed?.(served);
      return served.runtime.close?.();
    };
    // A process that does not end cleanly is ended by whoever started it.
    void this.#options
      .drained()
      .then(close)
      .catch(() => {});
  }

  #inUse(): Set<string> {
    return new Set([...this.#asked()].map(({ info }) => keyOf(info)));
  }

  *#asked(): Generator<ServedModel> {
    yield* this.#options.served();
    for (const { candidate } of this.rollouts.running()) yield candidate;
  }

  #changed(served: ServedModel, change: BreakerChange): void {
    this.#options.noteHealth?.({ model: served.info, ...change });
    const isOut = change.to === 'open' || change.to === 'withdrawn';
    const { name } = served.info;
    if (isOut && this.rollouts.get(name)?.candidate === served) this.rollouts.end(name, 'candidate-failed');
  }
}

/** A budget of memory names each version once. */
function keyOf({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name}@${version}`;
}
