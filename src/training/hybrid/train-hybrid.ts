import { SeededRandom } from '../../base/index.ts';
import { sha256 } from '../../crypto/index.ts';
import {
  auc,
  BoostedModel,
  type BoostedModelParts,
  binaryMetrics,
  calibrate,
  encodeModel,
  fitPlatt,
  fitStatistics,
  IDENTITY_CALIBRATION,
  OPERATING_POINTS,
} from '../../models/index.ts';
import { encodeRows, fitBinning } from '../binning.ts';
import { resolveTrainingConfig, type TrainingConfig } from '../config.ts';
import { TrainingError } from '../errors.ts';
import { trainKinds } from '../kind-stage.ts';
import { categoryCounts, checkTable, type LabelledTable, selectRows } from '../labelled-table.ts';
import { chooseThreshold } from '../threshold.ts';
import {
  digestRows,
  holdOut,
  type TrainingResult,
  type TrainModelInput,
  trainModel,
} from '../train-model.ts';
import { exposeTable } from './exposed-table.ts';
import { featureBlocks } from './feature-blocks.ts';
import { fitNovelty } from './fit-novelty.ts';
import { meanEnsemble } from './merge-ensembles.ts';

/** Name and version of this trainer, for the provenance of what it trains. */
export const HYBRID_TRAINER = 'ai-guardian hybrid 1';

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
  if (table.columns !== categories.length) {
    throw new TrainingError(
      'training.table-invalid',
      `the table has ${table.columns} columns, the schema ${categories.length}`,
    );
  }
  checkTable(table);
  const parts = holdOut(
    table,
    {
      ...config,
      // Traffic drifts: where rows have times, thresholds come from the latest ones.
      split: config.split === 'stratified' && table.times !== undefined ? 'time' : config.split,
      validationFraction: 0,
      calibrationFraction: hybrid.calibrationFraction,
    },
    seed,
  );
  const normals = parts.train.filter((r) => table.labels[r] === 0);
  if (normals.length === 0 || normals.length === parts.train.length) {
    throw new TrainingError('training.too-few-rows', 'expected normal and attack rows to train on');
  }
  const random = new SeededRandom(seed);
  const held = selectRows(table, parts.calibration);
  const draws = await trainTrees(input, config, { rows: parts.train, normals, held, random });
  const novelty = await fitNovelty({
    table,
    train: parts.train,
    held: parts.calibration,
    categories,
    config: hybrid,
    random: random.fork(),
    steps: input.steps,
  });
  const train = selectRows(table, parts.train);
  const named = config.kinds ? await nameKinds(train, categories, config, input) : undefined;
  const rough: BoostedModelParts = {
    schemaId: schema.id,
    sourceKinds,
    columns: schema.schema.columns.map(({ name }, c) => ({ name, categories: categories[c] as number })),
    kinds: named?.kinds ?? [],
    threshold: 0.5,
    bias: draws.reduce((sum, { bias }) => sum + bias, 0) / draws.length,
    detector: meanEnsemble(draws.map(({ detector }) => detector)),
    calibration: IDENTITY_CALIBRATION,
    ...(named && { kindStage: named.stage }),
    statistics: fitStatistics(new Float32Array(0), 0, categories, []),
    novelty,
  };
  const margins = new Float64Array(held.rows);
  new BoostedModel(rough).margins(held.values, held.rows, margins);
  const calibration = fitPlatt(margins, held.labels);
  const probability = Float32Array.from(margins, (margin) => calibrate(calibration, margin));
  const operatingPoints = OPERATING_POINTS.map((name) => {
    const nominalFpr = hybrid.falsePositiveRates[name];
    const policy = { kind: 'fpr', target: nominalFpr } as const;
    return { name, nominalFpr, threshold: chooseThreshold(policy, probability, held.labels) };
  });
  const threshold = operatingPoints.find(({ name }) => name === hybrid.operatingPoint)?.threshold as number;
  const model = new BoostedModel({
    ...rough,
    threshold,
    calibration,
    operatingPoints,
    statistics: fitStatistics(train.values, train.rows, categories, margins),
  });
  const modelBytes = encodeModel(model);
  const used = process.cpuUsage(cpu);
  return {
    modelBytes,
    digest: sha256(modelBytes),
    model,
    config,
    rounds: model.parts.detector.roots.length,
    validationLoss: [],
    validation: binaryMetrics(probability, held.labels, threshold),
    threshold,
    calibration,
    held,
    trainedOn: parts.train,
    rows: {
      given: table.rows,
      train: parts.train.length,
      validation: 0,
      calibration: parts.calibration.length,
    },
    trainCpuSeconds: (used.user + used.system) / 1e6,
    provenance: {
      dataDigest: table.digest ?? digestRows(table),
      schemaId: schema.id,
      sourceKinds,
      configuration: config,
      seed,
      trainer: HYBRID_TRAINER,
    },
  };
}

interface TreeRows {
  /** That may be fitted on, and the normal ones of them. */
  readonly rows: Uint32Array;
  readonly normals: Uint32Array;
  readonly held: LabelledTable;
  readonly random: SeededRandom;
}

/**
 * The exposed ensembles; or one that was not exposed, where held-out rows speak against exposure: made-up rows look like
 * what normal traffic turns into where it drifts fast.
 */
async function trainTrees(
  input: TrainModelInput,
  config: TrainingConfig,
  { rows, normals, held, random }: TreeRows,
): Promise<BoostedModelParts[]> {
  const { hybrid } = config;
  const blocks = featureBlocks(input.table, normals, categoryCounts(input.schema));
  const runs = hybrid.draws + 1;
  const train = async (run: number, exposure: number): Promise<BoostedModel> => {
    const { model } = await trainModel({
      ...input,
      table: exposeTable(input.table, rows, { ...hybrid, exposure, blocks }, random.fork()),
      config: { ...config, ...WHOLE_TABLE },
      seed: random.uint32(),
      ...(input.steps && { steps: input.steps.within(`draw ${run}`) }),
      ...(input.onProgress && { onProgress: progressOf(input.onProgress, run, runs) }),
    });
    return model;
  };
  const plain = await train(0, 0);
  const exposed: BoostedModel[] = [];
  for (let run = 1; run < runs; run++) exposed.push(await train(run, hybrid.exposure));
  const plainMargins = new Float64Array(held.rows);
  plain.margins(held.values, held.rows, plainMargins);
  const sums = new Float64Array(held.rows);
  const margins = new Float64Array(held.rows);
  for (const model of exposed) {
    model.margins(held.values, held.rows, margins);
    for (let r = 0; r < held.rows; r++) sums[r] = (sums[r] as number) + (margins[r] as number);
  }
  const cost = auc(plainMargins, held.labels).value - auc(sums, held.labels).value;
  // Where a label is absent nothing can be told, and exposure stays.
  return (cost > hybrid.exposureCost ? [plain] : exposed).map(({ parts }) => parts);
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

/** Rounds of all draws as one run. */
function progressOf(
  onProgress: NonNullable<TrainModelInput['onProgress']>,
  draw: number,
  draws: number,
): NonNullable<TrainModelInput['onProgress']> {
  return ({ round, rounds }) => onProgress({ round: draw * rounds + round, rounds: draws * rounds });
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
