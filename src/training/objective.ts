import { deterministicExp, deterministicLog } from '../models/index.ts';
import type { LossSum } from './histogram-source.ts';

/** Gradients, hessians and losses are whole numbers of 2^-20. */
export const FIXED_POINT = 1 << 20;

/** Logistic loss of one row, -log P(label), from its margin; no overflow. */
export function logisticLoss(margin: number, label: number): number {
  const z = label === 1 ? margin : -margin;
  return z > 0 ? deterministicLog(1 + deterministicExp(-z)) : deterministicLog(1 + deterministicExp(z)) - z;
}

/** Softmax loss, -log P(label), of row r; margins: Float64Array, class-major, `stride` rows a class. */
export function softmaxLoss(
  margins: Float64Array,
  r: number,
  stride: number,
  outputs: number,
  label: number,
): number {
  let top = margins[r] as number;
  for (let k = 1; k < outputs; k++) {
    const m = margins[k * stride + r] as number;
    if (m > top) top = m;
  }
  let sum = 0;
  for (let k = 0; k < outputs; k++) sum += deterministicExp((margins[k * stride + r] as number) - top);
  return deterministicLog(sum) + top - (margins[label * stride + r] as number);
}

/** Weighted sum of the losses in fixed point: exact, so that shards may be added up in any order. */
export function lossSum(
  margins: Float64Array,
  rows: number,
  outputs: number,
  labels: Uint8Array,
  weights: Float32Array | undefined,
): LossSum {
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    const label = labels[r] as number;
    const loss =
      outputs === 1
        ? logisticLoss(margins[r] as number, label)
        : softmaxLoss(margins, r, rows, outputs, label);
    sum += Math.round(loss * (weights === undefined ? 1 : (weights[r] as number)) * FIXED_POINT);
  }
  return { sum, rows };
}

/**
 * The margins that fit the base rates, one an output: log-odds of the weighted share of label 1, within +-10, for one
 * output; else log of each class's share, -10 at least.
 */
export function baseMargins(
  labels: Uint8Array,
  weights: Float32Array | undefined,
  outputs: number,
): Float64Array {
  return marginsOfShares(labelWeights(labels, weights, outputs), outputs);
}

/** Weight of each class in units of 2^-20; Float64Array of whole numbers, so that shards may be added up in any order. */
export function labelWeights(
  labels: Uint8Array,
  weights: Float32Array | undefined,
  outputs: number,
): Float64Array {
  const shares = new Float64Array(Math.max(2, outputs));
  for (let i = 0; i < labels.length; i++) {
    const w = weights === undefined ? FIXED_POINT : Math.round((weights[i] as number) * FIXED_POINT);
    shares[labels[i] as number]! += w;
  }
  return shares;
}

/** Base margins of classes with these weights. */
export function marginsOfShares(shares: Float64Array, outputs: number): Float64Array {
  const [zeros, ones] = [shares[0] as number, shares[1] as number];
  if (outputs === 1) {
    const bias = ones === 0 ? -10 : zeros === 0 ? 10 : deterministicLog(ones / zeros);
    return Float64Array.of(Math.max(-10, Math.min(10, bias)));
  }
  let all = 0;
  for (const share of shares) all += share;
  return shares.map((share) => (share === 0 ? -10 : Math.max(-10, deterministicLog(share / all))));
}
