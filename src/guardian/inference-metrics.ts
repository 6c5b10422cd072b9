import type { Metrics } from '../base/index.ts';
import type { Engine } from '../inference/index.ts';

/** Registers what the engine counts: waiting, scoring, shedding, threads. */
export function observeInference(metrics: Metrics, engine: Engine, modelName: () => string): void {
  const histogram = (name: string, help: string, key: keyof Engine['histograms']) =>
    metrics.histogramOf(`inference_${name}`, help, () => engine.histograms[key]);
  histogram('queue_seconds', 'From a request to the scoring of its first row.', 'queue');
  histogram('score_seconds', "The model's own time, a request.", 'score');
  histogram('total_seconds', 'From a request to its answer, within the engine.', 'total');
  histogram('batch_rows', 'Rows that were scored together.', 'batchRows');
  metrics.counted(
    'inference_shed_total',
    'Requests refused for want of room, by reason.',
    'reason',
    () => engine.stats.shed,
  );
  if (engine.remote !== undefined) {
    metrics.counted(
      'inference_remote_total',
      'Batches for workers over the bus, by what came of a try: answered, lost, refused, or scored here instead.',
      'outcome',
      () => {
        const { answered = 0, lost = 0, refused = 0, local = 0 } = engine.remote ?? {};
        return { answered, lost, refused, local };
      },
    );
    metrics.gauge('inference_workers', 'Workers that are there.', () => engine.remote?.workers ?? 0);
    metrics.gauge(
      'inference_workers_busy',
      'Batches that workers score now.',
      () => engine.remote?.busy ?? 0,
    );
  }
  const gauge = (name: string, help: string, read: (stats: Engine['stats']) => number) =>
    metrics.gauge(`inference_${name}`, help, () => read(engine.stats));
  gauge('limit', 'Requests that may be under way at once now.', ({ scheduler }) => scheduler?.limit ?? 0);
  gauge('waiting', 'Requests that wait for their turn.', ({ scheduler }) => scheduler?.waiting ?? 0);
  gauge('in_flight', 'Requests that are not answered yet.', ({ inFlight }) => inFlight);
  gauge('threads', 'Threads that score batches.', ({ scheduler }) => scheduler?.pool.threads ?? 0);
  gauge('threads_busy', 'Threads that score now.', ({ scheduler }) => scheduler?.pool.busy ?? 0);
  gauge('threads_lost', 'Threads that ended unasked.', ({ scheduler }) => scheduler?.pool.lost ?? 0);
  metrics.gauge(
    'certificates_active',
    'Source kinds for which the certificate of the watching model is active.',
    () => engine.current(modelName())?.certified?.kinds.filter(({ state }) => state === 'active').length ?? 0,
  );
}
