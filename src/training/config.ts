import { z } from 'zod';
import { TrainingError } from './errors.ts';
import { hybridConfigSchema } from './hybrid/config.ts';

const share = z.number().min(0).max(0.5);

/**
 * The configuration of a training run. Every leaf has a default, unknown keys are refused. The defaults for the trees
 * had the best mean AUC on attack types left out of training, in folds of NSL-KDD's training file (`leaveTypesOut`).
 */
export const trainingConfigSchema = z.strictObject({
  /** `hybrid`: trees exposed to made-up rows, and detectors of what differs from normal traffic. `trees`: trees alone. */
  method: z.enum(['hybrid', 'trees']).default('hybrid'),
  hybrid: hybridConfigSchema.prefault({}),
  /** Trees at most; early stopping usually needs fewer. */
  rounds: z.int().min(1).max(5000).default(200),
  /** Leaves of one tree at most. */
  maxLeaves: z.int().min(2).max(1024).default(31),
  /** Cuts from the root to a leaf at most; 0 is no limit. */
  maxDepth: z.int().min(0).max(64).default(0),
  /**
   * Rounds in which a tree is grown, the root's the first; each later one cuts several leaves at once, so it bounds the depth
   * too. More come closer to growth leaf by leaf; fewer spare a distributed run messages.
   */
  treeRounds: z.int().min(2).max(1024).default(8),
  /** Shrinks every leaf. */
  learningRate: z.number().positive().max(1).default(0.1),
  /** What the learning rate is multiplied with after each round; 1 keeps it. */
  learningRateDecay: z.number().positive().max(1).default(1),
  /** Lowest share of the first learning rate that decay leads to. */
  learningRateFloor: z.number().min(0).max(1).default(0.1),
  /** Rows in a leaf at least; estimated from its share of the hessians. */
  minRowsPerLeaf: z.int().min(1).default(20),
  /** L1 penalty on leaf values, in units of gradient. */
  l1: z.number().min(0).default(0),
  /** L2 penalty on leaf values, in units of hessian. */
  l2: z.number().min(0).default(1),
  /** Sum of hessians in a leaf at least. */
  minHessian: z.number().min(0).default(1e-3),
  /** A split must lower the loss by more than this. */
  minGain: z.number().min(0).default(0),
  /** Bins of a column at most, the one for missing values included. */
  maxBins: z.int().min(4).max(256).default(256),
  /** Added to a category's hessian when categories are sorted by gradient statistic. */
  categoricalSmoothing: z.number().min(0).default(10),
  /** L2 penalty in place of `l2` for categorical splits. */
  categoricalL2: z.number().min(0).default(10),
  /** Levels of a quantized gradient on either side of 0. Few suffice: rounding is unbiased. */
  gradientLevels: z.int().min(2).max(127).default(8),
  /**
   * What leaf values are computed from. `rounded`: the rounded gradients that the tree was grown on; with 2 to 4 levels their
   * noise counters overfitting as a sample of rows does, and a run takes less time and memory.
   */
  leafSums: z.enum(['exact', 'rounded']).default('exact'),
  /** Columns that P(attack) may only rise (1) or only fall (-1) with, by name. */
  monotone: z.record(z.string(), z.union([z.literal(1), z.literal(-1)])).default({}),
  /** Share of the rows drawn for each tree. */
  rowFraction: z.number().positive().max(1).default(0.7),
  /** Share of the columns drawn for each tree. */
  featureFraction: z.number().positive().max(1).default(0.5),
  /** Training rows of one attack type at most, drawn by seed; 0 means all. Held-out rows keep their natural mix. */
  maxRowsPerAttackType: z.int().min(0).default(4000),
  /** Whether equal rows with equal labels count once; else copies of a training row would sit in the held-out parts. */
  duplicates: z.enum(['drop', 'keep']).default('drop'),
  /** How rows are held out: by stratified draw, by the table's times (latest held out), or by its order of rows. */
  split: z.enum(['stratified', 'time', 'order']).default('stratified'),
  /** Share of the rows that early stopping watches. */
  validationFraction: share.default(0.1),
  /** Share of the rows for calibration, threshold and the held-out metrics; neither trees nor stopping see them. */
  calibrationFraction: share.default(0.1),
  /** Rounds without a lower validation loss before training stops; 0 trains all rounds. */
  patience: z.int().min(0).default(20),
  /** `fixed`: the value itself. `fpr`: the lowest threshold whose false positive rate on held-out rows is at most target. */
  thresholdPolicy: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('fixed'), value: z.number().min(0).max(1) }),
      z.strictObject({ kind: z.literal('fpr'), target: z.number().min(0).max(1) }),
    ])
    .default({ kind: 'fixed', value: 0.5 }),
  /** Whether small ensembles are trained that name the kind of an attack. */
  kinds: z.boolean().default(false),
  /** Trees for each kind. */
  kindRounds: z.int().min(1).max(1000).default(30),
  /** Leaves of a kind's tree. */
  kindMaxLeaves: z.int().min(2).max(256).default(15),
  /** A kind with fewer training rows is not named. */
  minKindRows: z.int().min(2).default(20),
});

export type TrainingConfig = z.output<typeof trainingConfigSchema>;
export type ThresholdPolicy = TrainingConfig['thresholdPolicy'];

/** Fills the defaults in. Throws training.config-invalid, naming the first wrong key. */
export function resolveTrainingConfig(config: Partial<TrainingConfig> = {}): TrainingConfig {
  const parsed = trainingConfigSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  throw new TrainingError('training.config-invalid', z.prettifyError(parsed.error).replaceAll('\n', '; '));
}
