import { availableParallelism } from 'node:os';
import { Metrics } from '../base/index.ts';
import { SealedBus } from '../bus/index.ts';
import { EventWorker } from '../guardian/index.ts';
import { defaultWorkerId, readTrustFile, startInferenceWorker } from '../inference/index.ts';
import { type BusOptions, openBusOf } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { serveHealth } from './worker-health.ts';

export interface InferenceWorkerCommand extends BusOptions {
  readonly id?: string;
  readonly trust?: string;
  readonly threads?: number;
  readonly healthPort?: number;
  readonly healthHost?: string;
}

/**
 * Scores batches and queued events for the owner, with models that its own trust file vouches for, until Ctrl-C; then it
 * finishes what it has and gives the rest to others.
 */
export async function runInferenceWorker(
  context: Context,
  options: InferenceWorkerCommand,
): Promise<undefined> {
  const { output, logger, clock, config, signal } = context;
  const { threads = Math.max(1, availableParallelism() - 1), id = defaultWorkerId(), healthPort } = options;
  if (options.trust === undefined) {
    throw new CliError('cli.usage', '--role inference needs --trust FILE: PEM keys whose models you take');
  }
  const trust = await readTrustFile(options.trust);
  const bus = await openBusOf(context, options);
  const metrics = new Metrics();
  try {
    if (!(bus instanceof SealedBus)) {
      throw new CliError(
        'cli.usage',
        '--role inference needs --bus-key-file FILE: models and events go over the bus',
      );
    }
    metrics.counted(
      'bus_refused_total',
      'What came over the bus and did not open, by kind.',
      'kind',
      () => bus.refusals,
    );
    const worker = await startInferenceWorker({
      ...{ bus, trust, threads, id, logger, metrics, clock, config: config.inference },
    });
    const events = new EventWorker({
      ...{ bus, engine: worker.engine, schemaOf: (model) => worker.schemaOf(model), id, logger, metrics },
      isReady: () => worker.isReady,
    });
    let isGoing = false;
    const state = () => ({ ready: !isGoing && worker.isReady, id, going: isGoing, ...worker.status });
    try {
      const health =
        healthPort === undefined
          ? undefined
          : await serveHealth({ port: healthPort, host: options.healthHost, state, metrics });
      try {
        output.line(`${id} follows the models of the owner, with ${threads} threads, until Ctrl-C`);
        if (health !== undefined) output.line(`health at ${health.url}/health/ready`);
        output.object({ type: 'worker.started', id, threads, ...(health && { health: health.url }) });
        void worker.followed().then(() => {
          const { models, refused } = worker.status;
          if (!signal.aborted) output.object({ type: 'worker.ready', id, models, refused });
        });
        events.start();
        await untilAborted(signal);
      } finally {
        // Probes are told first, so that nobody counts on it while it finishes what it has.
        isGoing = true;
        await events.close();
        await worker.close();
        await health?.close();
      }
    } finally {
      await worker.close();
    }
    output.object({ type: 'worker.ended', id, batches: worker.status.answered, events: events.stats.events });
  } finally {
    await bus.close();
  }
  return undefined;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
