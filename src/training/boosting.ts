import { setImmediate } from 'node:timers/promises';
import { SeededRandom } from '../base/index.ts';
import type { Binning, LabelledBins } from './binning.ts';
import { addGrownTree } from './checkpoint/add-grown-tree.ts';
import type { TrainingConfig } from './config.ts';
import { type GrownTree, growTree } from './grow-tree.ts';
import type { HistogramSource } from './histogram-source.ts';
import { KernelSource } from './kernel/kernel-source.ts';
import { baseMargins, FIXED_POINT } from './objective.ts';
import { counterHash, type QuantizationScales, quantizationScales } from './quantization.ts';
import { SplitFinder } from './split.ts';

/** A boosted ensemble before it is written as arrays. */
export interface BoostedTrees {
  /** Margin before the first tree, one an output. */
  readonly bias: Float64Array;
  /** By round, then by output: tree t x outputs + k is output k's in round t. */
  readonly trees: readonly GrownTree[];
  readonly binning: Binning;
  /** Mean loss on the validation rows after each round; empty without them. */
  readonly validationLoss: readonly number[];
}

export interface RoundProgress {
  readonly round: number;
  readonly rounds: number;
  readonly validationLoss?: number;
  /** Where rows lie with others. */
  readonly aggregation?: AggregationProgress;
}

/** What it took so far to sum over rows that lie with others. */
export interface AggregationProgress {
  readonly workers: number;
  readonly sums: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Leases taken from workers that were lost or late; members that were lost. */
  readonly lost: number;
  /** Answers that came after their lease was lost, and were refused. */
  readonly late: number;
}

/** A run as far as it came: what is needed to go on with it. */
export interface GrownSoFar {
  /** By round, then by output. */
  readonly trees: readonly GrownTree[];
  readonly validationLoss: readonly number[];
}

/** What the growth of trees needs to know of a run, wherever its rows are. */
export interface GrowthOptions {
  readonly config: TrainingConfig;
  readonly seed: number;
  readonly scales: QuantizationScales;
  readonly bias: Float64Array;
  /** Int8Array, one a column of the binning: 1 rises, -1 falls, 0 free; absent: all free. */
  readonly monotone?: Int8Array | undefined;
  readonly onProgress?: ((progress: RoundProgress) => void | Promise<void>) | undefined;
  /** Where to go on; the source's margins must hold these trees. */
  readonly resume?: GrownSoFar | undefined;
  /** Called after each round, before the next begins. */
  readonly onRound?: ((grown: GrownSoFar) => Promise<void>) | undefined;
}

/** Grows the trees of a run somewhere: on rows of this process, or on workers. */
export type Booster = (training: LabelledBins, options: BoostingOptions) => Promise<BoostedTrees>;

export interface BoostingOptions {
  readonly config: TrainingConfig;
  readonly seed: number;
  /** 2 or more; with 2 there is one output, the margin of class 1. */
  readonly classes?: number | undefined;
  readonly validation?: LabelledBins | undefined;
  readonly monotone?: Int8Array | undefined;
  readonly onProgress?: ((progress: RoundProgress) => void | Promise<void>) | undefined;
  /** Threads that sum; the result does not depend on them. */
  readonly threads?: number | undefined;
  /** Rows per block of histogram sums; the result does not depend on it. */
  readonly blockRows?: number | undefined;
  /** Where to go on. */
  readonly resume?: GrownSoFar | undefined;
  /** Called after each round, before the next begins. */
  readonly onRound?: GrowthOptions['onRound'];
}

/**
 * Gradient boosting with the logistic or the softmax loss (Friedman, 2001; second order as XGBoost), on rows of this
 * process. Deterministic: neither threads nor blocks change a bit.
 */
export async function boost(training: LabelledBins, options: BoostingOptions): Promise<BoostedTrees> {
  const { config, seed, validation, monotone, onProgress, classes = 2, threads = 1, blockRows } = options;
  const { resume, onRound } = options;
  const constants = runConstants(training, config, classes);
  const { maxLeaves, rowFraction, gradientLevels, leafSums } = config;
  const source = new KernelSource({
    ...{ training, validation, seed, threads, blockRows, maxLeaves, rowFraction, gradientLevels, leafSums },
    ...constants,
  });
  try {
    resume?.trees.forEach((tree, t) => {
      const margins = source.margins(t % constants.outputs);
      addGrownTree(tree, training.binned, margins.training);
      if (validation !== undefined) addGrownTree(tree, validation.binned, margins.held);
    });
    return await growTrees(source, { config, seed, monotone, onProgress, resume, onRound, ...constants });
  } finally {
    await source.close();
  }
}

/** What follows from all rows of a run: a distributed run agrees on it before its first round. */
export function runConstants({ labels, weights }: LabelledBins, config: TrainingConfig, classes: number) {
  const outputs = classes === 2 ? 1 : classes;
  const fixed = runScales(config.gradientLevels, highestWeight(weights), outputs);
  return { outputs, ...fixed, bias: baseMargins(labels, weights, outputs) };
}

/** What the levels of a run are worth, whose rows have weights up to `maxWeight`. */
export function runScales(gradientLevels: number, maxWeight: number, outputs: number) {
  // One class's hessian bounds the curvature of the softmax loss only with this factor (as LightGBM has it).
  const hessianFactor = outputs === 1 ? 1 : outputs / (outputs - 1);
  return { hessianFactor, scales: quantizationScales(gradientLevels, maxWeight, hessianFactor) };
}

/**
 * The rounds, on any source. Each round: gradients at the present margins, quantized; one tree an output; its leaves added.
 * Stops when the validation loss has not fallen for `patience` rounds and keeps the trees up to its lowest point.
 * Gives the event loop a turn between rounds.
 */
export async function growTrees(source: HistogramSource, options: GrowthOptions): Promise<BoostedTrees> {
  const { config, seed, scales, bias, onProgress } = options;
  const { binning, outputs } = source;
  const monotone = options.monotone ?? new Int8Array(binning.columns.length);
  const finder = new SplitFinder(binning, scales, config, monotone);
  const trees: GrownTree[] = [...(options.resume?.trees ?? [])];
  const losses: number[] = [...(options.resume?.validationLoss ?? [])];
  let best = bestRound(losses);
  let rate = config.learningRate;
  const nextRate = () =>
    Math.max(config.learningRate * config.learningRateFloor, rate * config.learningRateDecay);
  const first = trees.length / outputs;
  for (let t = 0; t < first; t++) rate = nextRate();
  for (let t = first; t < config.rounds && !hasEnded(trees, losses, best, outputs, config); t++) {
    await source.startRound(t);
    const features = drawFeatures(binning.columns.length, config.featureFraction, seed, t);
    for (let output = 0; output < outputs; output++) {
      trees.push(
        await growTree(source, finder, { output, features, monotone, learningRate: rate, limits: config }),
      );
    }
    rate = nextRate();
    const { sum, rows } = await source.validationLoss();
    const loss = rows > 0 ? sum / FIXED_POINT / rows : undefined;
    if (loss !== undefined) {
      losses.push(loss);
      best = bestRound(losses);
    }
    await options.onRound?.({ trees, validationLoss: losses });
    await onProgress?.({
      round: t + 1,
      rounds: config.rounds,
      ...(loss !== undefined && { validationLoss: loss }),
    });
    await setImmediate();
  }
  if (config.patience > 0 && losses.length > 0) trees.length = best * outputs;
  return { bias, trees, binning, validationLoss: losses };
}

/** Rounds up to the first lowest loss. */
function bestRound(losses: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < losses.length; i++) if ((losses[i] as number) < (losses[best] as number)) best = i;
  return losses.length === 0 ? 0 : best + 1;
}

function hasEnded(
  trees: readonly GrownTree[],
  losses: readonly number[],
  best: number,
  outputs: number,
  { patience, rowFraction, featureFraction }: TrainingConfig,
): boolean {
  if (patience > 0 && losses.length > 0 && losses.length - best >= patience) return true;
  if (rowFraction < 1 || featureFraction < 1 || trees.length === 0) return false;
  // No tree with a split: the gradients have nothing more to say (unless other rows or columns are drawn).
  return trees.slice(-outputs).every(({ child }) => child.length === 1);
}

export function highestWeight(weights: Float32Array | undefined): number {
  let highest = 0;
  for (const w of weights ?? [1]) if (w > highest) highest = w;
  return highest === 0 ? 1 : highest;
}

/** At least one column, ascending. */
function drawFeatures(count: number, fraction: number, seed: number, round: number): number[] {
  const all = Array.from({ length: count }, (_, f) => f);
  if (fraction === 1 || count === 0) return all;
  const random = new SeededRandom(counterHash(seed ^ 0x1b873593, round, 0));
  return random
    .shuffle(all)
    .slice(0, Math.max(1, Math.round(count * fraction)))
    .sort((a, b) => a - b);
}
