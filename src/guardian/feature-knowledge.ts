import type { Clock, Logger, Metrics } from '../base/index.ts';
import {
  CpuBackend,
  type FeatureBackend,
  type FeaturesConfig,
  type HostAggregate,
  HostAggregates,
  type IndicatorAnswer,
  IndicatorCache,
  type IndicatorLookup,
  type LoadedSchema,
  NameFeatures,
  observeBackend,
  openBackend,
  type ValueState,
} from '../features/index.ts';
import type { Monitor } from '../monitor/index.ts';
import type { VerifiedModel } from '../registry/index.ts';
import { type FlowBatch, parseAddress } from '../traffic/index.ts';

export interface FeatureKnowledgeParts {
  readonly config: FeaturesConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly monitor: Pick<Monitor, 'subscribe'>;
  readonly indicators?: IndicatorLookup | undefined;
}

/** What is known of a host now. */
export interface HostReport {
  readonly address: string;
  readonly state: ValueState;
  readonly aggregate?: HostAggregate;
  /** Where there is threat intelligence to ask. */
  readonly indicators?: IndicatorAnswer;
}

/** What one guardian keeps of hosts, names and indicators between batches, and the backend that adds it up. */
export class FeatureKnowledge {
  readonly names: NameFeatures;
  readonly #parts: FeatureKnowledgeParts;
  readonly #hosts: HostAggregates;
  readonly #indicators: IndicatorCache | undefined;
  readonly #unfollow: readonly (() => void)[];
  #backend: FeatureBackend = new CpuBackend();
  #opening: Promise<void> | undefined;

  constructor(parts: FeatureKnowledgeParts) {
    const { config, clock, logger, metrics, monitor, indicators } = parts;
    const budgetBytes = config.cacheBytes;
    this.#parts = parts;
    this.names = new NameFeatures({ budgetBytes, logger });
    this.#hosts = new HostAggregates({
      ...{ budgetBytes, logger, ttlMs: config.hostIdleMs },
      backend: () => this.#backend,
    });
    this.#indicators =
      indicators &&
      new IndicatorCache({
        ...{ lookup: indicators, clock, logger, budgetBytes },
        ttlMs: config.indicatorTtlMs,
        negativeTtlMs: config.indicatorNegativeTtlMs,
      });
    const caches = [
      this.names.cache,
      this.#hosts.cache,
      ...(this.#indicators ? [this.#indicators.answers.cache] : []),
    ];
    for (const cache of caches) cache.observe(metrics);
    this.#unfollow = caches.map((cache) => cache.follow(monitor));
  }

  /** Adds flows to what is known of their hosts. The batch must not change until this resolves. */
  async add(flows: FlowBatch): Promise<void> {
    // Measuring a GPU takes a moment, so the CPU computes meanwhile; who only lists models never pays for it.
    this.#opening ??= this.#open();
    await this.#hosts.add(flows);
  }

  /** A host by its address; `invalid` where that is none. Indicators are asked for in the background: they may come later. */
  host(text: string): HostReport {
    const address = parseAddress(text)?.text;
    if (address === undefined) return { address: text, state: 'invalid' };
    const now = this.#parts.clock.now();
    const indicators = this.#indicators?.read(address, now);
    return { address, ...this.#hosts.read(address, now), ...(indicators !== undefined && { indicators }) };
  }

  /** A model took its place: what rests on another schema or model under its name is forgotten. */
  noteModel({ name, digest }: Pick<VerifiedModel, 'name' | 'digest'>, schema: LoadedSchema): void {
    for (const { cache } of [this.names, this.#hosts]) {
      cache.stamp('schema', name, schema.id);
      cache.stamp('model', name, digest);
    }
  }

  async close(): Promise<void> {
    for (const stop of this.#unfollow) stop();
    await this.#opening;
    this.#backend.close();
    await this.#indicators?.answers.close();
  }

  async #open(): Promise<void> {
    const { config, clock, logger, metrics } = this.#parts;
    this.#backend = await openBackend({ config, clock, logger });
    observeBackend(this.#backend, metrics);
  }
}
