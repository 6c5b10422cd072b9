import { createRequire } from 'node:module';

/** Loaded with the first metrics: what only reads files starts without it. */
const load = createRequire(import.meta.url);

/** Label values come from closed sets (codes, verdicts), never from the wire: series stay bounded. */
export type Labels = Readonly<Record<string, string>>;

export interface CounterMetric {
  add(labels: Labels, by?: number): void;
}
export interface HistogramMetric {
  /** Seconds or whatever unit the metric's name says. */
  observe(labels: Labels, value: number): void;
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

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
