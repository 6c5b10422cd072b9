import { availableParallelism } from 'node:os';
import type { LoadedSchema } from '../features/index.ts';
import {
  type Booster,
  type DetectorWatch,
  type LabelledTable,
  type RoundProgress,
  type TrainingFacts,
  type TrainingResult,
  type TrainingSteps,
  trainDetector,
} from '../training/index.ts';
import type { Context } from './context.ts';

/** Bins (rows x columns) from which on a second thread saves more than waking it costs in each phase of a tree. */
const SHARED_BINS = 8_000_000;

/** Threads that train a table where none are asked for; the model does not depend on them. */
export function trainingThreads({ rows, columns }: Pick<LabelledTable, 'rows' | 'columns'>): number {
  return rows * columns < SHARED_BINS ? 1 : Math.min(2, availableParallelism());
}

export interface ProgressOptions {
  /** Kinds of sources the model may judge; all of the schema's where absent. */
  readonly sourceKinds?: readonly string[];
  /** 1 where absent. */
  readonly threads?: number;
  readonly steps?: TrainingSteps;
  /** Where the trees are grown; in this process where absent. */
  readonly booster?: Booster;
  /** The rows to train on are the booster's own. */
  readonly isHeldOut?: boolean;
  readonly isWatched?: boolean;
  /** Called after each round; the next one waits for it. */
  readonly onRound?: (progress: RoundProgress) => Promise<void>;
  /** What else takes part while detectors are fitted. */
  readonly detectors?: DetectorWatch;
}

/** Trains with a progress bar and Ctrl-C between two trees. */
export async function trainWithProgress(
  context: Context,
  rows: LabelledTable,
  schema: LoadedSchema,
  seed: number,
  config: Partial<Context['config']['training']> = {},
  {
    steps,
    booster,
    onRound,
    detectors,
    sourceKinds,
    isWatched = false,
    isHeldOut = false,
    threads = 1,
  }: ProgressOptions = {},
): Promise<TrainingResult> {
  const progress = context.output.progress('training');
  try {
    return await trainDetector({
      table: rows,
      schema,
      sourceKinds: sourceKinds ?? schema.schema.sourceKinds,
      config: { ...context.config.training, ...config },
      seed,
      isWatched,
      isHeldOut,
      threads,
      ...(steps && { steps }),
      ...(booster && { booster }),
      ...(detectors && { detectors }),
      onProgress: async (made) => {
        context.signal.throwIfAborted();
        await onRound?.(made);
        const { round, rounds, validationLoss } = made;
        const loss = validationLoss === undefined ? '' : `, loss ${validationLoss.toFixed(4)}`;
        progress.update(round / rounds, `tree ${round} of at most ${rounds}${loss}`);
      },
    });
  } finally {
    progress.done();
  }
}

/** What the gates are told of a run. */
export function trainingFacts(trained: TrainingResult, table: LabelledTable): TrainingFacts {
  const { trainedOn, trainCpuSeconds: cpuSeconds } = trained;
  return {
    ...(trainedOn && { rows: { table, numbers: trainedOn } }),
    cpuSeconds,
    // Kilobytes on every platform.
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}
