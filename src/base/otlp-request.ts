import type { Milliseconds } from './units.ts';

/** One family as prom-client gives it. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly {
    readonly labels: Readonly<Record<string, string | number | undefined>>;
    readonly value: number;
    readonly metricName?: string | undefined;
  }[];
}

interface HistogramSoFar {
  readonly attributes: readonly object[];
  readonly cumulative: { readonly le: number; readonly count: number }[];
  count: number;
  sum: number;
}

/** AGGREGATION_TEMPORALITY_CUMULATIVE: counts since the start of the process. */
const CUMULATIVE = 2;

/**
 * An ExportMetricsServiceRequest of OTLP 1.x in its JSON encoding: 64-bit whole numbers as text, counters as monotonic
 * sums, histograms with counts of their own a bucket. What is not a number is left out, as there is no reading.
 */
export function otlpRequest(
  families: readonly MetricFamily[],
  options: {
    readonly startMs: Milliseconds;
    readonly nowMs: Milliseconds;
    /** Of the resource: `service.name` and what else tells one server from another. */
    readonly resource: Readonly<Record<string, string>>;
    readonly version: string;
  },
): object {
  const startTimeUnixNano = nanoseconds(options.startMs);
  const times = { startTimeUnixNano, timeUnixNano: nanoseconds(options.nowMs) };
  const metrics = families.map(({ name, help, type, values }) => {
    const about = { name, description: help, unit: unitOf(name) };
    if (type === 'histogram') {
      const dataPoints = histogramPoints(values).map((point) => ({ ...point, ...times }));
      return { ...about, histogram: { aggregationTemporality: CUMULATIVE, dataPoints } };
    }
    const dataPoints = values
      .filter(({ value }) => Number.isFinite(value))
      .map(({ labels, value }) => ({ attributes: attributesOf(labels), asDouble: value, ...times }));
    if (type !== 'counter') return { ...about, gauge: { dataPoints } };
    return { ...about, sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints } };
  });
  const scope = { name: 'ai-guardian', version: options.version };
  const resource = { attributes: attributesOf(options.resource) };
  return { resourceMetrics: [{ resource, scopeMetrics: [{ scope, metrics }] }] };
}

/** Prometheus counts a bucket with all below it, OTLP each alone. */
function histogramPoints(values: MetricFamily['values']): object[] {
  const points = new Map<string, HistogramSoFar>();
  for (const { labels, value, metricName = '' } of values) {
    const { le, ...rest } = labels;
    const key = JSON.stringify(rest);
    const known = points.get(key);
    const point: HistogramSoFar = known ?? {
      attributes: attributesOf(rest),
      cumulative: [],
      count: 0,
      sum: 0,
    };
    if (known === undefined) points.set(key, point);
    if (metricName.endsWith('_bucket')) {
      if (le !== '+Inf') point.cumulative.push({ le: Number(le), count: value });
    } else if (metricName.endsWith('_sum')) point.sum = value;
    else if (metricName.endsWith('_count')) point.count = value;
  }
  return [...points.values()].map(({ attributes, cumulative, count, sum }) => {
    const upTo = [0, ...cumulative.map((bucket) => bucket.count), count];
    return {
      attributes,
      count: String(count),
      sum,
      explicitBounds: cumulative.map(({ le }) => le),
      bucketCounts: upTo.slice(1).map((total, i) => String(total - (upTo[i] as number))),
    };
  });
}

function attributesOf(labels: Readonly<Record<string, string | number | undefined>>): object[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value: { stringValue: String(value) } }));
}

function nanoseconds(ms: Milliseconds): string {
  return String(BigInt(Math.round(ms)) * 1_000_000n);
}

/** UCUM, by the ending of Prometheus' names. */
function unitOf(name: string): string {
  if (name.endsWith('_seconds')) return 's';
  return name.endsWith('_bytes') ? 'By' : '1';
}
