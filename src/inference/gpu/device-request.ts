import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../base/index.ts';
import { type Outcome, type SlicedWork, untilAfter } from '../batching/sliced-request.ts';
import { InferenceError } from '../errors.ts';
import type { DeviceScorer } from './gpu-scoring.ts';

/** Rows decided without a pause. */
const DECIDED_ROWS = 16_384;

/**
 * One request on the device, as a whole; ends at once where its deadline passes or its caller goes away, and then touches its arrays no
 * more. Undefined where the device failed: the CPU has to score it.
 */
export async function scoreOnDevice(
  work: SlicedWork,
  scorer: Pick<DeviceScorer, 'score'>,
  clock: Clock,
): Promise<Outcome | undefined> {
  const { signal, deadline } = work;
  const began = clock.monotonic();
  const gone = new AbortController();
  const progress = { scored: 0 };
  const end = Promise.withResolvers<'late' | 'withdrawn'>();
  const withdraw = () => end.resolve('withdrawn');
  const timer = setTimeout(
    () => {
      if (clock.monotonic() > deadline) end.resolve('late');
    },
    untilAfter(deadline, clock),
  );
  if (signal?.aborted) withdraw();
  signal?.addEventListener('abort', withdraw, { once: true });
  const outcome = (state: Outcome['state'], error?: unknown): Outcome => ({
    ...{ state, scored: progress.scored, spent: clock.monotonic() - began, waited: 0 },
    ...(state === 'failed' && { error }),
  });
  try {
    const state = await Promise.race([scoreAll(work, scorer, gone.signal, progress), end.promise]);
    return state === 'refused' ? undefined : outcome(state);
  } catch (error) {
    return outcome('failed', error);
  } finally {
    gone.abort();
    clearTimeout(timer);
    signal?.removeEventListener('abort', withdraw);
  }
}

/** Scores everything before it decides anything: what the device did not finish is shown to no certificate twice. */
async function scoreAll(
  { served, batch, out, confidenceThreshold }: SlicedWork,
  scorer: Pick<DeviceScorer, 'score'>,
  gone: AbortSignal,
  progress: { scored: number },
): Promise<'done' | 'refused' | 'withdrawn'> {
  const { rows } = batch;
  try {
    if (!(await scorer.score(batch.values, rows, out, gone))) return 'refused';
  } catch (error) {
    if (error instanceof InferenceError && error.code === 'inference.cancelled') return 'withdrawn';
    throw error;
  }
  for (let from = 0; from < rows && !gone.aborted; from += DECIDED_ROWS) {
    if (from > 0) await setImmediate();
    if (gone.aborted) break;
    const to = Math.min(rows, from + DECIDED_ROWS);
    served.decide(batch, from, to, confidenceThreshold, out);
    progress.scored = to;
  }
  return 'done';
}
