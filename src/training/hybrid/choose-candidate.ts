import {
  BoostedModel,
  type BoostedModelParts,
  binaryMetrics,
  type Calibration,
  calibrate,
  fitPlatt,
  OPERATING_POINTS,
  type OperatingPoint,
} from '../../models/index.ts';
import type { LabelledTable } from '../labelled-table.ts';
import { chooseThreshold } from '../threshold.ts';
import type { HybridConfig } from './config.ts';

/** A model that could be served, and what held-out rows say of it. */
export interface Candidate {
  /** Complete but for the threshold, the calibration, the operating points and the statistics. */
  readonly parts: BoostedModelParts;
  readonly calibration: Calibration;
  readonly operatingPoints: readonly OperatingPoint[];
  /** Float64Array and Float32Array, one a held-out row. */
  readonly margins: Float64Array;
  readonly probability: Float32Array;
  /** Balanced accuracy on the held-out rows, mean over the operating points; 0 where a label is absent. */
  readonly balancedAccuracy: number;
}

/** Calibrates a model on held-out rows, and chooses and measures its operating points there. */
export function measureCandidate(
  parts: BoostedModelParts,
  held: LabelledTable,
  rates: HybridConfig['falsePositiveRates'],
): Candidate {
  const margins = new Float64Array(held.rows);
  new BoostedModel(parts).margins(held.values, held.rows, margins);
  const calibration = fitPlatt(margins, held.labels);
  const probability = Float32Array.from(margins, (margin) => calibrate(calibration, margin));
  const operatingPoints = OPERATING_POINTS.map((name) => {
    const nominalFpr = rates[name];
    const policy = { kind: 'fpr', target: nominalFpr } as const;
    return { name, nominalFpr, threshold: chooseThreshold(policy, probability, held.labels) };
  });
  let sum = 0;
  if (held.labels.includes(0) && held.labels.includes(1)) {
    for (const { threshold } of operatingPoints) {
      const { recall, fpr } = binaryMetrics(probability, held.labels, threshold);
      sum += (recall.value + 1 - fpr.value) / 2;
    }
  }
  const balancedAccuracy = sum / operatingPoints.length;
  return { parts, calibration, operatingPoints, margins, probability, balancedAccuracy };
}

/**
 * The first candidate (they come the wariest first) whose balanced accuracy is within `tolerance` of the best one's. What
 * is wary of the unseen pays off on attacks that no held-out row shows, so held-out rows only say what it costs.
 */
export function chooseCandidate(candidates: readonly Candidate[], tolerance: number): Candidate {
  const best = candidates.reduce((most, { balancedAccuracy }) => Math.max(most, balancedAccuracy), 0);
  return candidates.find(({ balancedAccuracy }) => balancedAccuracy >= best - tolerance) as Candidate;
}

/**
 * Operating points that also lie no lower than even odds of the margin itself. For trees without exposure or detectors: a
 * nominal rate bounds their false positives on traffic like the held-out one; below even odds a threshold gains little there,
 * and costs much where traffic has drifted.
 */
export function atLeastEvenOdds({ calibration, operatingPoints }: Candidate): readonly OperatingPoint[] {
  const even = calibrate(calibration, 0);
  return operatingPoints.map((point) => ({ ...point, threshold: Math.max(point.threshold, even) }));
}
