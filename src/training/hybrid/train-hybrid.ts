import { SeededRandom } from '../../base/index.ts';
import {
  BoostedModel,
  type BoostedModelParts,
  fitStatistics,
  IDENTITY_CALIBRATION,
  type NoveltyParts,
} from '../../models/index.ts';
import { encodeRows, fitBinning } from '../binning.ts';
import { resolveTrainingConfig, type TrainingConfig } from '../config.ts';
import { limitAttackTypes } from '../data-split.ts';
import { TrainingError } from '../errors.ts';
import { trainKinds } from '../kind-stage.ts';
import {
  categoryCounts,
  checkTable,
  type LabelledTable,
  modelColumns,
  selectRows,
} from '../labelled-table.ts';
import { holdOut, type TrainModelInput, trainModel } from '../train-model.ts';
import { type TrainingResult, trainingResult } from '../training-result.ts';
import { atLeastEvenOdds, type Candidate, chooseCandidate, measureCandidate } from './choose-candidate.ts';
import { exposeTable } from './exposed-table.ts';
import { featureBlocks } from './feature-blocks.ts';
import { fitNovelty } from './fit-novelty.ts';
import { meanEnsemble } from './merge-ensembles.ts';
import { exposureCost } from './time-windows.ts';

/** Name and version of this trainer, for the provenance of what it trains. */
export const HYBRID_TRAINER = 'ai-guardian hybrid 4';

/**
 * Trains a hybrid: ensembles of boosted trees exposed to made-up rows, averaged, and detectors fitted on normal traffic
 * alone, whose levels add to the trees' margin. Calibration, levels and both thresholds come from held-out rows. Same
 * table, schema, configuration and seed give the same bytes. Throws as `trainModel`.
 */
export async function trainHybrid(input: TrainModelInput): Promise<TrainingResult> {
  const cpu = process.cpuUsage();
  const { table, schema, sourceKinds, seed } = input;
  const config = resolveTrainingConfig(input.config);
  const { hybrid } = config;
  const categories = categoryCounts(schema);
  checkTable(table, schema);
  const parts = holdOut(
    table,
    {
      ...config,
      // Traffic drifts: where rows have times, thresholds come from the latest ones.
      split: config.split === 'stratified' && table.times !== undefined ? 'time' : config.split,
      validationFraction: 0,
      calibrationFraction: hybrid.calibrationFraction,
      maxRowsPerAttackType: 0,
    },
    seed,
  );
  const rows =
    config.maxRowsPerAttackType === 0
      ? parts.train
      : limitAttackTypes(table, parts.train, config.maxRowsPerAttackType, seed);
  const normals = rows.filter((r) => table.labels[r] === 0);
  if (normals.length === 0 || normals.length === rows.length) {
    throw new TrainingError('training.too-few-rows', 'expected normal and attack rows to train on');
  }
  const random = new SeededRandom(seed);
  const held = selectRows(table, parts.calibration);
  const isExposed = await paysOff(input, config, parts.train, random);
  const { exposed, known } = await trainTrees({ ...input, watch: held }, config, {
    rows,
    normals,
    all: parts.train,
    random,
    isExposed,
  });
  const novelty = await fitNovelty({
    table,
    train: rows,
    held: parts.calibration,
    categories,
    config: hybrid,
    random: random.fork(),
    steps: input.steps,
    watch: input.detectors,
  });
  const train = selectRows(table, rows);
  const named = config.kinds ? await nameKinds(train, categories, config, input) : undefined;
  const shared = {
    schemaId: schema.id,
    sourceKinds,
    columns: modelColumns(schema),
    kinds: named?.kinds ?? [],
    threshold: 0.5,
    calibration: IDENTITY_CALIBRATION,
    ...(named && { kindStage: named.stage }),
    statistics: fitStatistics(new Float32Array(0), 0, categories, []),
  };
  const silent = { ...novelty, weights: { distance: 0, isolation: 0, reconstruction: 0 } };
  const measure = (trees: BoostedModelParts[], detectors: NoveltyParts): Candidate =>
    measureCandidate(
      {
        ...shared,
        bias: trees.reduce((sum, { bias }) => sum + bias, 0) / trees.length,
        detector: meanEnsemble(trees.map(({ detector }) => detector)),
        novelty: detectors,
      },
      held,
      hybrid.falsePositiveRates,
    );
  const withoutExposure = measure([known], silent);
  const wary = isExposed ? [measure(exposed, novelty), measure(exposed, silent)] : [];
  const chosen = chooseCandidate([...wary, withoutExposure], hybrid.tolerance);
  const { calibration, margins, probability } = chosen;
  const operatingPoints = chosen === withoutExposure ? atLeastEvenOdds(chosen) : chosen.operatingPoints;
  const threshold = operatingPoints.find(({ name }) => name === hybrid.operatingPoint)?.threshold as number;
  const model = new BoostedModel({
    ...chosen.parts,
    threshold,
    calibration,
    operatingPoints,
    statistics: fitStatistics(train.values, train.rows, categories, margins),
  });
  return trainingResult(input, {
    model,
    config,
    validationLoss: [],
    held,
    probability,
    trainedOn: parts.train,
    rows: { train: rows.length, validation: 0, calibration: parts.calibration.length },
    cpu,
    trainer: HYBRID_TRAINER,
  });
}

interface TreeRows {
  /** Of which no attack type has more than its share, the normal ones of them, and all that may be fitted on. */
  readonly rows: Uint32Array;
  readonly normals: Uint32Array;
  readonly all: Uint32Array;
  readonly random: SeededRandom;
  /** Whether the exposed ones are trained at all. */
  readonly isExposed: boolean;
}

/** Whether exposure costs little enough in the windows of a table with times; without times nothing speaks against it. */
async function paysOff(
  input: TrainModelInput,
  config: TrainingConfig,
  rows: Uint32Array,
  random: SeededRandom,
): Promise<boolean> {
  const { table, schema } = input;
  if (!hasWindows(input, config)) return true;
  const { rounds, tolerance } = config.hybrid.windows;
  const cost = await exposureCost({
    ...{ table, schema, rows, config, random: random.fork() },
    train: async (run, rowsOfRun, seed) => {
      const { model } = await trainModel({
        ...input,
        table: rowsOfRun,
        config: { ...config, ...WHOLE_TABLE, rounds },
        seed,
        isWatched: false,
        ...(input.steps && { steps: input.steps.within(`window ${run}`) }),
        ...(input.onProgress && {
          onProgress: progressOf(input.onProgress, run * rounds, allRounds(input, config, true)),
        }),
      });
      return model.parts;
    },
  });
  return cost <= tolerance;
}

function hasWindows({ table }: TrainModelInput, { split, hybrid }: TrainingConfig): boolean {
  return table.times !== undefined && split !== 'order' && hybrid.windows.count > 0;
}

/** Ensembles exposed to made-up rows, and one for attacks like the known ones. */
async function trainTrees(
  input: TrainModelInput,
  config: TrainingConfig,
  { rows, normals, all, random, isExposed }: TreeRows,
): Promise<{ exposed: BoostedModelParts[]; known: BoostedModelParts }> {
  const { hybrid } = config;
  const blocks = featureBlocks(input.table, normals, categoryCounts(input.schema));
  const windows = windowRounds(input, config);
  const train = async (
    run: number,
    table: LabelledTable,
    before: number,
    trees?: Partial<TrainingConfig>,
  ): Promise<BoostedModelParts> => {
    const { model } = await trainModel({
      ...input,
      table,
      config: { ...config, ...WHOLE_TABLE, ...trees },
      seed: random.uint32(),
      ...(input.steps && { steps: input.steps.within(`draw ${run}`) }),
      ...(input.onProgress && {
        onProgress: progressOf(input.onProgress, windows + before, allRounds(input, config, isExposed)),
      }),
    });
    return model.parts;
  };
  const known = await train(0, selectRows(input.table, all), 0, {
    ...hybrid.known,
    rowFraction: 1,
    featureFraction: 1,
  });
  const exposed: BoostedModelParts[] = [];
  for (let run = 1; isExposed && run <= hybrid.draws; run++) {
    const made = exposeTable(input.table, rows, { ...hybrid, blocks }, random.fork());
    exposed.push(await train(run, made, hybrid.known.rounds + (run - 1) * config.rounds));
  }
  return { exposed, known };
}

/** For the ensembles of a hybrid: every row they are given, every round, and no stage that the hybrid has of its own. */
const WHOLE_TABLE = {
  validationFraction: 0,
  calibrationFraction: 0,
  maxRowsPerAttackType: 0,
  duplicates: 'keep',
  split: 'order',
  patience: 0,
  kinds: false,
  thresholdPolicy: { kind: 'fixed', value: 0.5 },
} as const satisfies Partial<TrainingConfig>;

/** Rounds of all ensembles as one run: the windows' first, then the known one's. */
function progressOf(
  onProgress: NonNullable<TrainModelInput['onProgress']>,
  before: number,
  all: number,
): NonNullable<TrainModelInput['onProgress']> {
  return ({ round, ...rest }) => onProgress({ ...rest, round: before + round, rounds: all });
}

function allRounds(input: TrainModelInput, config: TrainingConfig, isExposed: boolean): number {
  const { hybrid, rounds } = config;
  return windowRounds(input, config) + hybrid.known.rounds + (isExposed ? hybrid.draws * rounds : 0);
}

/** Two ensembles a window. */
function windowRounds(input: TrainModelInput, config: TrainingConfig): number {
  const { count, rounds } = config.hybrid.windows;
  return hasWindows(input, config) ? 2 * count * rounds : 0;
}

function nameKinds(
  train: LabelledTable,
  categories: readonly number[],
  config: TrainingConfig,
  { seed, threads, steps }: TrainModelInput,
) {
  const rows = Uint32Array.from(train.labels.keys());
  const binning = fitBinning(train.values, train.columns, rows, categories, config.maxBins);
  return trainKinds({ ...train, binned: encodeRows(binning, train.values, train.columns, rows) }, config, {
    seed,
    threads,
    steps,
  });
}
