import type { CounterMetric, HistogramMetric, Metrics } from '../base/index.ts';

export interface ServerMetrics {
  /** Labels `code`, `category`. */
  readonly refusals: CounterMetric;
  /** Labels `route`, `status`. */
  readonly requests: CounterMetric;
  /** Labels `reason`, `priority`: inference requests that were refused before they were read. */
  readonly shed: CounterMetric;
  /** Seconds; label `route`. */
  readonly duration: HistogramMetric;
  /** Labels `method`, `code`: the number of the status. */
  readonly calls: CounterMetric;
  /** Seconds; label `method`. */
  readonly callDuration: HistogramMetric;
  /** States of findings that slow readers of a stream lost. */
  readonly dropped: CounterMetric;
}

const known = new WeakMap<Metrics, ServerMetrics>();

/** The server's metrics of a guardian; its TCP port and its socket share them. */
export function serverMetrics(metrics: Metrics): ServerMetrics {
  let found = known.get(metrics);
  if (found === undefined) {
    found = {
      refusals: metrics.counter('refusals_total', 'Requests refused, by code.', ['code', 'category']),
      requests: metrics.counter('http_requests_total', 'Requests answered.', ['route', 'status']),
      shed: metrics.counter('http_shed_total', 'Inference requests refused unread, by reason.', [
        'reason',
        'priority',
      ]),
      duration: metrics.histogram('http_request_seconds', 'From the headers to the answer.', ['route']),
      calls: metrics.counter('grpc_calls_total', 'Calls over gRPC that ended.', ['method', 'code']),
      callDuration: metrics.histogram('grpc_call_seconds', 'From the headers of a call to its status.', [
        'method',
      ]),
      dropped: metrics.counter('stream_dropped_total', 'States of findings that slow stream readers lost.'),
    };
    known.set(metrics, found);
  }
  return found;
}
