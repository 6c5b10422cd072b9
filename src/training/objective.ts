import { deterministicExp, deterministicLog, sigmoid } from '../models/index.ts';

/** Gradients and hessians are whole numbers of 2^-20. */
export const FIXED_POINT = 1 << 20;

/** Logistic loss of one row, -log P(label), from its margin; no overflow. */
export function logisticLoss(margin: number, label: number): number {
  const z = label === 1 ? margin : -margin;
  return z > 0 ? deterministicLog(1 + deterministicExp(-z)) : deterministicLog(1 + deterministicExp(z)) - z;
}

/**
 * Gradient w (p - y) and hessian w p (1 - p) of the logistic loss, rounded to fixed point, so that sums over any set of
 * rows are exact and do not depend on their order. All arrays one entry a row; out: Int32Array.
 */
export function logisticGradients(
  margins: Float64Array,
  labels: Uint8Array,
  weights: Float32Array | undefined,
  gradients: Int32Array,
  hessians: Int32Array,
): void {
  for (let i = 0; i < margins.length; i++) {
    const p = sigmoid(margins[i] as number);
    const w = (weights === undefined ? 1 : (weights[i] as number)) * FIXED_POINT;
    gradients[i] = Math.round((p - (labels[i] as number)) * w);
    hessians[i] = Math.round(p * (1 - p) * w);
  }
}

/** The margin that fits the base rate: log-odds of the weighted share of label 1, kept within +-10. */
export function baseMargin(labels: Uint8Array, weights: Float32Array | undefined): number {
  let ones = 0;
  let all = 0;
  for (let i = 0; i < labels.length; i++) {
    // Fixed point again: a sum of floats would depend on the order.
    const w = weights === undefined ? 1 : Math.round((weights[i] as number) * FIXED_POINT);
    all += w;
    if (labels[i] === 1) ones += w;
  }
  if (ones === 0) return -10;
  if (ones === all) return 10;
  return Math.max(-10, Math.min(10, deterministicLog(ones / (all - ones))));
}

/** Mean logistic loss. */
export function meanLogisticLoss(margins: Float64Array, labels: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < margins.length; i++) {
    sum += logisticLoss(margins[i] as number, labels[i] as number);
  }
  return margins.length === 0 ? 0 : sum / margins.length;
}
