import { getPriority, setPriority } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { ReadingSource } from '../monitor/index.ts';
import {
  type CurvePoint,
  type EpochProgress,
  type PauseCounters,
  type RoundProgress,
  TrainingPace,
} from '../training/index.ts';
import type { Api } from './api.ts';
import type { Context } from './context.ts';
import { LiveCurve } from './live-curve.ts';
import { CurveFile, CurvePoints } from './training-curve.ts';

export interface WatchedRun {
  /** Name of the model that is trained. */
  readonly name: string;
  /** Where the curve is written; none is where absent. */
  readonly curve?: string | undefined;
  readonly resume: boolean;
  /** Of the table. */
  readonly rows: number;
  /** Way to the owner of the state, who is told the curve, too; nobody is where absent. */
  readonly api?: Api | undefined;
}

/** What a training calls; it waits for each. */
export interface TrainingWatch {
  readonly onRound: (progress: RoundProgress) => Promise<void>;
  readonly onEpoch: (progress: EpochProgress) => Promise<void>;
  /** Called often within the parts that have no rounds. */
  readonly turn: () => Promise<void>;
}

/**
 * Trains with its curve written and told, and its pace held: at lower priority, pausing between rounds, and within what
 * has none, while the machine is short of what serving needs.
 */
export async function watchTraining<T>(
  context: Context,
  { name, curve: path, resume, rows, api }: WatchedRun,
  train: (watch: TrainingWatch) => Promise<T>,
): Promise<{ readonly trained: T; readonly pauses: PauseCounters }> {
  const { clock, signal, config, output } = context;
  const { trainingLimits: limits } = config;
  const file = path === undefined ? undefined : new CurveFile(path, resume);
  const onFailure = (error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    output.note(`guardian: the course of the training was not told to the owner of the state: ${why}`);
  };
  const live = api && new LiveCurve(api, name, { now: () => clock.monotonic(), onFailure });
  const source = new ReadingSource({ clock });
  const priority = lowerPriority(limits.niceness);
  let isDone = false;
  try {
    const points = new CurvePoints(rows, clock);
    const pace = new TrainingPace({
      limits,
      clock,
      read: () => source.read(),
      sleep: (ms) => setTimeout(ms, undefined, { signal }),
    });
    const turn = async () => {
      signal.throwIfAborted();
      await pace.turn();
    };
    const add = (point: CurvePoint) => {
      file?.add(point);
      live?.add(point);
    };
    const trained = await train({
      turn,
      onRound: async (progress) => {
        await pace.turn();
        add(points.round(progress, pace.counters));
      },
      onEpoch: async (progress) => {
        await turn();
        add(points.epoch(progress, pace.counters));
      },
    });
    isDone = true;
    return { trained, pauses: pace.counters };
  } finally {
    restorePriority(priority);
    source.close();
    file?.close();
    await live?.end(isDone ? 'done' : 'failed');
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
