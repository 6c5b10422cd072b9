import type { LoadedSchema } from '../features/index.ts';
import { BoostedModel, calibrate, fitPlatt, fitStatistics, sumMargins } from '../models/index.ts';
import { type Binning, encodeRows, fitBinning } from './binning.ts';
import { type Booster, boost, type RoundProgress } from './boosting.ts';
import type { TrainingSteps } from './checkpoint/training-steps.ts';
import { resolveTrainingConfig, type TrainingConfig } from './config.ts';
import {
  type DataSplit,
  distinctRows,
  limitAttackTypes,
  splitByTime,
  splitStratified,
} from './data-split.ts';
import { TrainingError } from './errors.ts';
import { fitImputation } from './fit-imputation.ts';
import { flattenTrees } from './flatten-trees.ts';
import type { DetectorWatch } from './hybrid/fit-novelty.ts';
import { trainKinds } from './kind-stage.ts';
import {
  categoryCounts,
  checkTable,
  type LabelledTable,
  modelColumns,
  selectRows,
} from './labelled-table.ts';
import { chooseThreshold } from './threshold.ts';
import { type TrainingResult, trainingResult } from './training-result.ts';

/** Name and version of this trainer, for the provenance of what it trains. */
export const TRAINER = 'ai-guardian histogram boosting 2';

export interface TrainModelInput {
  readonly table: LabelledTable;
  readonly schema: LoadedSchema;
  readonly sourceKinds: readonly string[];
  /** Missing keys take their defaults. */
  readonly config?: Partial<TrainingConfig>;
  readonly seed: number;
  /** Called after each round, which waits for it: whoever slows training down does it here. */
  readonly onProgress?: (progress: RoundProgress) => void | Promise<void>;
  /**
   * Whether the loss on rows held out is told after each round even where nothing stops by it. The model does not depend on
   * it, time does.
   */
  readonly isWatched?: boolean;
  /** The rows to watch, where the table has none that are held out. */
  readonly watch?: LabelledTable;
  /** Threads that train, 1 where absent; the model does not depend on them. */
  readonly threads?: number;
  /** Rows per block of histogram sums; the model does not depend on it. */
  readonly blockRows?: number;
  /** Where the trees are grown; on rows of this process where absent. */
  readonly booster?: Booster;
  /** What else takes part while the detectors of a hybrid are fitted. */
  readonly detectors?: DetectorWatch;
  /** Takes up and saves what is done; nothing is saved where absent. */
  readonly steps?: TrainingSteps;
  /** The rows to train on are the booster's own: every row of the table is held out, and bins and statistics come from them. */
  readonly isHeldOut?: boolean;
}

/**
 * Trains a detector: holds rows out, bins, boosts with early stopping, calibrates and chooses the threshold on rows
 * that the trees have not seen, names kinds if asked to, and writes the model file. Same table, schema, configuration
 * and seed give the same bytes. Throws training.config-invalid, training.table-invalid, training.too-few-rows.
 */
export async function trainModel(input: TrainModelInput): Promise<TrainingResult> {
  const cpu = process.cpuUsage();
  const { table, schema, sourceKinds, seed } = input;
  const config = resolveTrainingConfig(input.config);
  const categories = categoryCounts(schema);
  checkTable(table, schema);
  const split = input.isHeldOut === true ? allHeldOut(table, seed) : holdOut(table, config, seed);
  const parts = {
    train: selectRows(table, split.train),
    validation: selectRows(table, split.validation),
    calibration: selectRows(table, split.calibration),
  };
  for (const label of [0, 1]) {
    if (!parts.train.labels.includes(label)) {
      throw new TrainingError('training.too-few-rows', `no training row has the label ${label}`);
    }
  }

  const fitted = fitBinning(table.values, table.columns, split.train, categories, config.maxBins);
  const binning = fitImputation(fitted, { table, rows: split.train, schema });
  const bin = (rows: Uint32Array) => encodeRows(binning, table.values, table.columns, rows);
  const binned = bin(split.train);
  const watched = input.watch ?? parts.calibration;
  const isWatched = input.isWatched === true && split.validation.length === 0 && config.patience === 0;
  const validation = isWatched
    ? {
        binned: encodeRows(binning, watched.values, table.columns, rowNumbers(watched)),
        labels: watched.labels,
      }
    : { binned: bin(split.validation), labels: parts.validation.labels };
  const boosted = await (input.booster ?? boost)(
    { binned, labels: parts.train.labels, weights: parts.train.weights },
    {
      config,
      seed,
      validation,
      monotone: monotoneColumns(binning, schema, config),
      onProgress: input.onProgress,
      threads: input.threads,
      blockRows: input.blockRows,
      ...input.steps?.boosting('trees'),
    },
  );
  const named = config.kinds
    ? await trainKinds({ ...parts.train, binned }, config, {
        seed,
        threads: input.threads,
        steps: input.steps,
      })
    : undefined;
  const detector = flattenTrees(boosted.trees, boosted.binning);
  const held = parts.calibration;
  const bias = boosted.bias[0] as number;
  const margins = sumMargins(detector, bias, held.values, held.rows);
  const calibration = fitPlatt(margins, held.labels);
  const heldProbability = Float32Array.from(margins, (margin) => calibrate(calibration, margin));
  const threshold = chooseThreshold(config.thresholdPolicy, heldProbability, held.labels);
  const model = new BoostedModel({
    schemaId: schema.id,
    sourceKinds,
    columns: modelColumns(schema),
    kinds: named?.kinds ?? [],
    threshold,
    bias,
    detector,
    calibration,
    ...(named && { kindStage: named.stage }),
    statistics: fitStatistics(parts.train.values, parts.train.rows, categories, margins),
  });
  return trainingResult(input, {
    model,
    config,
    validationLoss: boosted.validationLoss,
    held,
    probability: heldProbability,
    trainedOn: input.isHeldOut === true ? undefined : split.train,
    rows: {
      train: split.train.length,
      validation: split.validation.length,
      calibration: split.calibration.length,
    },
    cpu,
    trainer: TRAINER,
  });
}

/** Directions by column of the binning. Throws training.config-invalid for a column that is unknown or a category. */
function monotoneColumns(binning: Binning, { schema }: LoadedSchema, config: TrainingConfig): Int8Array {
  for (const name of Object.keys(config.monotone)) {
    if (schema.columns.find((column) => column.name === name)?.type !== 'number') {
      throw new TrainingError('training.config-invalid', `monotone: expected a number column, got ${name}`);
    }
  }
  return Int8Array.from(
    binning.columns,
    ({ column }) => config.monotone[schema.columns[column]?.name ?? ''] ?? 0,
  );
}

/** The rows that take part, and which of them are held out. Held-out rows keep the natural mix of attack types. */
export function holdOut(table: LabelledTable, config: TrainingConfig, seed: number): DataSplit {
  if (config.split === 'time' && table.times === undefined) {
    throw new TrainingError('training.table-invalid', 'expected times to split by, the table has none');
  }
  const rows = config.duplicates === 'drop' ? distinctRows(table) : Uint32Array.from(table.labels.keys());
  const shares = { validation: config.validationFraction, calibration: config.calibrationFraction };
  const split =
    config.split === 'stratified'
      ? splitStratified(table, rows, shares, seed)
      : splitByTime(rows, shares, config.split === 'time' ? table.times : undefined);
  if (config.maxRowsPerAttackType === 0) return split;
  return { ...split, train: limitAttackTypes(table, split.train, config.maxRowsPerAttackType, seed) };
}

function rowNumbers({ labels }: LabelledTable): Uint32Array {
  return Uint32Array.from(labels.keys());
}

/** Half of the rows stop the training, the other half calibrates. */
function allHeldOut(table: LabelledTable, seed: number): DataSplit {
  const train = Uint32Array.from(table.labels.keys());
  return { ...splitStratified(table, train, { validation: 0.5, calibration: 0.5 }, seed), train };
}
