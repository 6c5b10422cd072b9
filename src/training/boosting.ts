import { setImmediate } from 'node:timers/promises';
import { SeededRandom } from '../base/index.ts';
import type { Binning, LabelledBins } from './binning.ts';
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
}

/** What the growth of trees needs to know of a run, wherever its rows are. */
export interface GrowthOptions {
  readonly config: TrainingConfig;
  readonly seed: number;
  readonly scales: QuantizationScales;
  readonly bias: Float64Array;
  /** Int8Array, one a column of the binning: 1 rises, -1 falls, 0 free; absent: all free. */
  readonly monotone?: Int8Array | undefined;
  readonly onProgress?: ((progress: RoundProgress) => void) | undefined;
}

export interface BoostingOptions {
  readonly config: TrainingConfig;
  readonly seed: number;
  /** 2 or more; with 2 there is one output, the margin of class 1. */
  readonly classes?: number | undefined;
  readonly validation?: LabelledBins | undefined;
  readonly monotone?: Int8Array | undefined;
  readonly onProgress?: ((progress: RoundProgress) => void) | undefined;
  /** Threads that sum; the result does not depend on them. */
  readonly threads?: number | undefined;
  /** Rows per block of histogram sums; the result does not depend on it. */
  readonly blockRows?: number | undefined;
}

/**
 * Gradient boosting with the logistic or the softmax loss (Friedman, 2001; second order as XGBoost), on rows of this
 * process. Deterministic: neither threads nor blocks change a bit.
 */
export async function boost(training: LabelledBins, options: BoostingOptions): Promise<BoostedTrees> {
  const { config, seed, validation, monotone, onProgress, classes = 2, threads = 1, blockRows } = options;
  const constants = runConstants(training, config, classes);
  const { maxLeaves, rowFraction, gradientLevels } = config;
  const source = new KernelSource({
    ...{ training, validation, seed, threads, blockRows, maxLeaves, rowFraction, gradientLevels },
    ...constants,
  });
  try {
    return await growTrees(source, { config, seed, monotone, onProgress, ...constants });
  } finally {
    await source.close();
  }
}

/** What follows from all rows of a run: a distributed run agrees on it before its first round. */
export function runConstants({ labels, weights }: LabelledBins, config: TrainingConfig, classes: number) {
  const outputs = classes === 2 ? 1 : classes;
  // One class's hessian bounds the curvature of the softmax loss only with this factor (as LightGBM has it).
  const hessianFactor = outputs === 1 ? 1 : outputs / (outputs - 1);
  const scales = quantizationScales(config.gradientLevels, highestWeight(weights), hessianFactor);
  return { outputs, hessianFactor, scales, bias: baseMargins(labels, weights, outputs) };
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
  const trees: GrownTree[] = [];
  const losses: number[] = [];
  let bestRounds = 0;
  let bestLoss = Number.POSITIVE_INFINITY;
  let rate = config.learningRate;
  for (let t = 0; t < config.rounds; t++) {
    await source.startRound(t);
    const features = drawFeatures(binning.columns.length, config.featureFraction, seed, t);
    let cuts = 0;
    for (let output = 0; output < outputs; output++) {
      const tree = await growTree(source, finder, {
        output,
        features,
        monotone,
        learningRate: rate,
        limits: config,
      });
      cuts += tree.child.length - 1;
      trees.push(tree);
    }
    rate = Math.max(config.learningRate * config.learningRateFloor, rate * config.learningRateDecay);
    const { sum, rows } = await source.validationLoss();
    if (rows > 0) {
      const loss = sum / FIXED_POINT / rows;
      losses.push(loss);
      if (loss < bestLoss) {
        bestLoss = loss;
        bestRounds = t + 1;
      }
      onProgress?.({ round: t + 1, rounds: config.rounds, validationLoss: loss });
      if (config.patience > 0 && t + 1 - bestRounds >= config.patience) break;
    } else onProgress?.({ round: t + 1, rounds: config.rounds });
    // No tree with a split: the gradients have nothing more to say (unless other rows or columns are drawn).
    if (cuts === 0 && config.rowFraction === 1 && config.featureFraction === 1) break;
    await setImmediate();
  }
  if (config.patience > 0 && losses.length > 0) trees.length = bestRounds * outputs;
  return { bias, trees, binning, validationLoss: losses };
}

function highestWeight(weights: Float32Array | undefined): number {
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
