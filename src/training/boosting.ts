import { setImmediate } from 'node:timers/promises';
import { SeededRandom } from '../base/index.ts';
import type { BinnedRows, Binning } from './binning.ts';
import type { TrainingConfig } from './config.ts';
import { baseMargin, FIXED_POINT, logisticGradients, meanLogisticLoss } from './objective.ts';
import { counterHash, packGradients, quantizationScales } from './quantization.ts';
import { addTreeMargins, type GrownTree, TreeLearner } from './tree-learner.ts';

/** Binned rows with what they should be predicted as. */
export interface LabelledBins {
  readonly binned: BinnedRows;
  /** 0 or 1. */
  readonly labels: Uint8Array;
  readonly weights?: Float32Array | undefined;
}

/** A boosted ensemble before it is written as arrays. */
export interface BoostedTrees {
  readonly bias: number;
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

export interface BoostingOptions {
  readonly config: TrainingConfig;
  readonly seed: number;
  readonly validation?: LabelledBins | undefined;
  readonly onProgress?: ((progress: RoundProgress) => void) | undefined;
  /** Rows per block of histogram sums; the result does not depend on it. */
  readonly blockRows?: number | undefined;
}

/**
 * Gradient boosting with the logistic loss (Friedman, 2001; second order as XGBoost). Each round: gradients at the
 * present margins, quantized; one tree; its leaves added. Stops when the validation loss has not fallen for `patience`
 * rounds and keeps the trees up to its lowest point. Gives the event loop a turn between rounds. Deterministic.
 */
export async function boost(training: LabelledBins, options: BoostingOptions): Promise<BoostedTrees> {
  const { config, seed, validation, onProgress } = options;
  const { binned, labels, weights } = training;
  const n = binned.rows;
  const scales = quantizationScales(config.gradientLevels, highestWeight(weights));
  const learner = new TreeLearner(binned, scales, config, FIXED_POINT, options.blockRows);
  const round = {
    packed: new Float64Array(n),
    gradients: new Int32Array(n),
    hessians: new Int32Array(n),
  };
  const all = Uint32Array.from(labels.keys());
  const bias = baseMargin(labels, weights);
  const margins = new Float64Array(n).fill(bias);
  const validationMargins = new Float64Array(validation?.binned.rows ?? 0).fill(bias);
  const trees: GrownTree[] = [];
  const losses: number[] = [];
  let bestRounds = 0;
  let bestLoss = Number.POSITIVE_INFINITY;
  for (let t = 0; t < config.rounds; t++) {
    logisticGradients(margins, labels, weights, round.gradients, round.hessians);
    packGradients(round.gradients, round.hessians, scales, { seed, round: t }, round.packed);
    const { inside, outside } = drawRows(all, config.rowFraction, seed, t);
    const features = drawFeatures(binned.binning.columns.length, config.featureFraction, seed, t);
    const tree = learner.grow(round, inside, features, margins);
    if (outside.length > 0) addTreeMargins(tree, binned, margins, outside);
    trees.push(tree);
    if (validation !== undefined && validation.binned.rows > 0) {
      addTreeMargins(tree, validation.binned, validationMargins);
      const loss = meanLogisticLoss(validationMargins, validation.labels);
      losses.push(loss);
      if (loss < bestLoss) {
        bestLoss = loss;
        bestRounds = t + 1;
      }
      onProgress?.({ round: t + 1, rounds: config.rounds, validationLoss: loss });
      if (config.patience > 0 && t + 1 - bestRounds >= config.patience) break;
    } else onProgress?.({ round: t + 1, rounds: config.rounds });
    // A tree without a split: the gradients have nothing more to say (unless other rows or columns are drawn).
    if (tree.child.length === 1 && config.rowFraction === 1 && config.featureFraction === 1) break;
    await setImmediate();
  }
  if (config.patience > 0 && losses.length > 0) trees.length = bestRounds;
  return { bias, trees, binning: binned.binning, validationLoss: losses };
}

function highestWeight(weights: Float32Array | undefined): number {
  let highest = 0;
  for (const w of weights ?? [1]) if (w > highest) highest = w;
  return highest === 0 ? 1 : highest;
}

/** Rows in and out of this round's sample, by a hash of the row's number: the same on every worker. */
function drawRows(all: Uint32Array, fraction: number, seed: number, round: number) {
  if (fraction === 1) return { inside: all, outside: new Uint32Array(0) };
  const limit = fraction * 2 ** 32;
  const isInside = (row: number): boolean => counterHash(seed ^ 0x5bd1e995, round, row) < limit;
  return { inside: all.filter(isInside), outside: all.filter((row) => !isInside(row)) };
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
