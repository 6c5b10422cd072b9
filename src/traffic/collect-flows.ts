import type { Clock, Milliseconds } from '../base/index.ts';
import type { FlowRecord } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import type { FlowSource } from './flow-source.ts';

export interface CollectOptions {
  /** Flows of the next batch, whose oldest has waited so long. */
  readonly next: (waitedMs: Milliseconds) => number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface WaitingFlow {
  readonly flow: FlowRecord;
  readonly since: Milliseconds;
}

/**
 * Reads a source that never ends while its flows are worked on. Whoever works takes what has arrived meanwhile as one
 * batch, at once and never more than `next` says, so batches grow with the load; when a full one waits, the source is
 * held back. Flows keep their order, and batches their one source kind.
 */
export async function* collectFlows(source: FlowSource, options: CollectOptions): AsyncGenerator<FlowBatch> {
  const { next, clock, signal } = options;
  const waiting: WaitingFlow[] = [];
  const stopped = new AbortController();
  let arrived = Promise.withResolvers<void>();
  let taken = Promise.withResolvers<void>();
  let failure: { readonly error: unknown } | undefined;
  let isEnded = false;
  const read = async () => {
    try {
      for await (const batch of source.batches(AbortSignal.any([signal, stopped.signal]))) {
        if (stopped.signal.aborted) continue;
        const since = clock.monotonic();
        for (const flow of batch.records()) waiting.push({ flow, since });
        arrived.resolve();
        while (waiting.length >= next(0) && !stopped.signal.aborted) {
          taken = Promise.withResolvers();
          await taken.promise;
        }
      }
    } catch (error) {
      failure = { error };
    }
    isEnded = true;
    arrived.resolve();
  };
  const reading = read();
  try {
    for (;;) {
      const [oldest] = waiting;
      if (oldest === undefined) {
        if (isEnded) break;
        arrived = Promise.withResolvers();
        await arrived.promise;
        continue;
      }
      const limit = Math.min(next(clock.monotonic() - oldest.since), waiting.length);
      const kind = oldest.flow.sourceKind;
      let rows = 1;
      while (rows < limit && waiting[rows]?.flow.sourceKind === kind) rows++;
      const flows = waiting.splice(0, rows).map(({ flow }) => flow);
      taken.resolve();
      yield FlowBatch.from(flows, kind);
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    // Whoever goes early leaves no capture running.
    stopped.abort();
    taken.resolve();
    await reading;
  }
}
