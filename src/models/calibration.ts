import { deterministicExp, deterministicLog, sigmoid } from './deterministic-math.ts';
import { ModelError } from './errors.ts';

/**
 * Platt scaling (1999): P(attack) = sigmoid(slope * margin + intercept). Chosen over isotonic regression because it
 * is strictly increasing (ranks, and so the AUC and every choice of a threshold, stay as they were), needs two numbers,
 * and says something sensible beyond the margins it was fitted on; isotonic steps would tie the extreme scores
 * that a certificate must tell apart.
 */
export interface Calibration {
  readonly kind: 'platt';
  /** Above 0. */
  readonly slope: number;
  readonly intercept: number;
}

/** Margin taken as log-odds, unchanged. */
export const IDENTITY_CALIBRATION: Calibration = { kind: 'platt', slope: 1, intercept: 0 };

/** Calibrated probability of one margin. */
export function calibrate(calibration: Calibration, margin: number): number {
  return sigmoid(calibration.slope * margin + calibration.intercept);
}

/** log(1 + e^-z) without overflow. */
function softplus(z: number): number {
  return z > 0 ? deterministicLog(1 + deterministicExp(-z)) : deterministicLog(1 + deterministicExp(z)) - z;
}

/**
 * Fits Platt's two numbers by Newton's method with backtracking (Lin, Lin and Weng, 2007) and Platt's smoothed targets,
 * which keep the slope finite where the classes are separated. Margins and labels: same length; labels 0 or 1;
 * weights optional. Falls back to the identity where a class is absent. Deterministic.
 */
export function fitPlatt(margins: ArrayLike<number>, labels: ArrayLike<number>): Calibration {
  const n = margins.length;
  if (labels.length !== n) {
    throw new ModelError('models.argument-invalid', `got ${n} margins and ${labels.length} labels`);
  }
  let positives = 0;
  for (let i = 0; i < n; i++) if (labels[i] === 1) positives++;
  if (positives === 0 || positives === n) return IDENTITY_CALIBRATION;
  const high = (positives + 1) / (positives + 2);
  const low = 1 / (n - positives + 2);
  const loss = (a: number, b: number): number => {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const z = a * (margins[i] as number) + b;
      const t = labels[i] === 1 ? high : low;
      sum += t * softplus(z) + (1 - t) * (softplus(z) + z);
    }
    return sum;
  };
  let a = 1;
  let b = 0;
  let current = loss(a, b);
  for (let step = 0; step < 50; step++) {
    // Gradient and Hessian; the small ridge keeps the system solvable.
    let [ga, gb, haa, hab, hbb] = [0, 0, 1e-9, 0, 1e-9];
    for (let i = 0; i < n; i++) {
      const m = margins[i] as number;
      const p = sigmoid(a * m + b);
      const d = p - (labels[i] === 1 ? high : low);
      const w = p * (1 - p);
      ga += d * m;
      gb += d;
      haa += w * m * m;
      hab += w * m;
      hbb += w;
    }
    if (Math.abs(ga) < 1e-7 * n && Math.abs(gb) < 1e-7 * n) break;
    const determinant = haa * hbb - hab * hab;
    const da = -(hbb * ga - hab * gb) / determinant;
    const db = -(haa * gb - hab * ga) / determinant;
    let scale = 1;
    for (; scale >= 1e-8; scale /= 2) {
      const next = loss(a + scale * da, b + scale * db);
      if (a + scale * da > 1e-6 && next < current) {
        a += scale * da;
        b += scale * db;
        current = next;
        break;
      }
    }
    if (scale < 1e-8) break;
  }
  return { kind: 'platt', slope: a, intercept: b };
}
