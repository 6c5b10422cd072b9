import { getPriority, setPriority } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { ReadingSource } from '../monitor/index.ts';
import { type PauseCounters, type RoundProgress, TrainingPace } from '../training/index.ts';
import type { Context } from './context.ts';
import { TrainingCurve } from './training-curve.ts';

export interface WatchedRun {
  /** Where the curve is written; none is where absent. */
  readonly curve?: string | undefined;
  readonly resume: boolean;
  /** Of the table. */
  readonly rows: number;
}

/**
 * Trains with its curve written and its pace held: at lower priority, pausing between rounds while the machine is short of
 * what serving needs.
 */
export async function watchTraining<T>(
  context: Context,
  { curve: path, resume, rows }: WatchedRun,
  train: (onRound: (progress: RoundProgress) => Promise<void>) => Promise<T>,
): Promise<{ readonly trained: T; readonly pauses: PauseCounters }> {
  const { clock, signal, config } = context;
  const { trainingLimits: limits } = config;
  const curve = path === undefined ? undefined : new TrainingCurve({ path, append: resume, rows, clock });
  const source = new ReadingSource({ clock });
  const priority = lowerPriority(limits.niceness);
  try {
    const pace = new TrainingPace({
      limits,
      clock,
      read: () => source.read(),
      sleep: (ms) => setTimeout(ms, undefined, { signal }),
    });
    const trained = await train(async (progress) => {
      await pace.turn();
      curve?.add(progress, pace.counters);
    });
    return { trained, pauses: pace.counters };
  } finally {
    restorePriority(priority);
    source.close();
    curve?.close();
  }
}

/** Before threads are started, which inherit it. Gives what it was. */
function lowerPriority(niceness: number): number {
  const before = getPriority();
  if (niceness > 0) setPriority(Math.min(19, before + niceness));
  return before;
}

function restorePriority(priority: number): void {
  try {
    if (getPriority() !== priority) setPriority(priority);
  } catch {
    // Only the superuser may raise it again; nothing but publishing is left to do.
  }
}
