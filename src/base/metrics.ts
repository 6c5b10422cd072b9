import { createRequire } from 'node:module';
import type { MetricFamily } from './otlp-request.ts';

/** Loaded with the first metrics: what only reads files starts without it. */
const load = createRequire(import.meta.url);

/** Label values come from closed sets (codes, verdicts), never from the wire: series stay bounded. */
export type Labels = Readonly<Record<string, string>>;

/** One series and its value now. */
export interface Measured {
  readonly labels: Labels;
  readonly value: number;
}

export interface CounterMetric {
  add(labels: Labels, by?: number): void;
}
export interface HistogramMetric {
  /** Seconds or whatever unit the metric's name says. */
  observe(labels: Labels, value: number): void;
}

/** A histogram that is kept elsewhere. `counts` are cumulative, one a bound; `count` stands for the bucket without a bound. */
export interface HistogramCounts {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

/** Seconds; from 50 microseconds to 5 s, with 100 ms, the latency bar, as a boundary. */
export const LATENCY_BUCKETS: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
];

/** The metrics of one guardian, in Prometheus' text format. Names carry the prefix `guardian_`. */
export class Metrics {
  readonly #prometheus: typeof import('prom-client') = load('prom-client');
  readonly #registry = new this.#prometheus.Registry();
  readonly contentType = this.#registry.contentType;

  counter(name: string, help: string, labelNames: readonly string[] = []): CounterMetric {
    const counter = new this.#prometheus.Counter({
      name: `guardian_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    });
    return { add: (labels, by = 1) => counter.inc({ ...labels }, by) };
  }

  histogram(
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    buckets = LATENCY_BUCKETS,
  ): HistogramMetric {
    const histogram = new this.#prometheus.Histogram({
      name: `guardian_${name}`,
      help,
      labelNames: [...labelNames],
      buckets: [...buckets],
      registers: [this.#registry],
    });
    return { observe: (labels, value) => histogram.observe({ ...labels }, value) };
  }

  /** `read` is called at each scrape. */
  gauge(name: string, help: string, read: () => number): void {
    new this.#prometheus.Gauge({
      name: `guardian_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /**
   * Values of several series that are asked for; `read` is called at each scrape, and what it does not name is gone. Where it
   * fails, as while a database is away, this metric is left out and the others are told.
   */
  measured(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Promise<readonly Measured[]>,
  ): void {
    const gauge = new this.#prometheus.Gauge({
      name: `guardian_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      async collect() {
        const found = await read().catch(() => []);
        gauge.reset();
        for (const { labels, value } of found) gauge.set({ ...labels }, value);
      },
    });
  }

  /** Counts that are kept elsewhere, by the value of one label; `read` is called at each scrape. */
  counted(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
    new this.#prometheus.Counter({
      name: `guardian_${name}`,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count);
      },
    });
  }

  /** A histogram that is kept elsewhere, where each observation must cost nanoseconds; `read` is called at each scrape. */
  histogramOf(name: string, help: string, read: () => HistogramCounts): void {
    const histogram = new this.#prometheus.Histogram({
      name: `guardian_${name}`,
      help,
      registers: [this.#registry],
    });
    const get = async () => valuesOf(`guardian_${name}`, help, read());
    Object.assign(histogram, { get, getForPromString: get });
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Everything that `text` tells, as values. */
  async families(): Promise<readonly MetricFamily[]> {
    const families = await this.#registry.getMetricsAsJSON();
    return families.map(({ name, help, type, values }) => ({
      // Typed as a number, and a word.
      ...{ name, help, type: String(type) },
      values: values.map((each) => ({
        ...{ labels: each.labels, value: each.value },
        // Only the parts of histograms bear one, and the types do not know it.
        ...('metricName' in each && typeof each.metricName === 'string' && { metricName: each.metricName }),
      })),
    }));
  }
}

/** In the form in which prom-client's own histograms give themselves. */
function valuesOf(name: string, help: string, { bounds, counts, count, sum }: HistogramCounts): unknown {
  const bucket = (le: number | string, value: number) => ({
    labels: { le },
    value,
    metricName: `${name}_bucket`,
  });
  return {
    ...{ name, help, type: 'histogram', aggregator: 'sum' },
    values: [
      ...bounds.map((le, i) => bucket(le, counts[i] ?? 0)),
      bucket('+Inf', count),
      { labels: {}, value: sum, metricName: `${name}_sum` },
      { labels: {}, value: count, metricName: `${name}_count` },
    ],
  };
}
